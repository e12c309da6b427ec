// In the folder BASE:
//   .chaosplugin-UID.lock           locked while somebody looks or unpacks
//   .chaosplugin-UID-DIGEST         the tree; renamed into place when it is whole, and locked (shared) by each
//                                   process that runs from it
//   .chaosplugin-UID-DIGEST/.durable made by the running plugin once the tree has reached the disk
// Until .durable is there, a power cut may have left files of the right size with wrong content: then each file's
// digest is looked at. Afterwards only that of a file which was changed since, whose time cannot be set back; sizes
// show what a cleaner of temporary files has taken.
#define _GNU_SOURCE
#include "tree.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <unistd.h>

enum { LINE = 64, LARGEST_MANIFEST = 1 << 22 };

struct place {
	int base;
	char prefix[LINE], tree[2 * LINE], part[2 * LINE], lock[2 * LINE];
};

static int open_folder(int at, const char *name)
{
	return openat(at, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
}

static bool is_mine(int file)
{
	struct stat status;
	return fstat(file, &status) == 0 && status.st_uid == geteuid() && (status.st_mode & 077) == 0;
}

static void remove_all(int at, const char *name)
{
	int folder = open_folder(at, name);
	if (folder < 0) {
		unlinkat(at, name, 0);
		return;
	}
	DIR *entries = fdopendir(folder);
	for (struct dirent *entry; entries && (entry = readdir(entries));) {
		if (strcmp(entry->d_name, ".") != 0 && strcmp(entry->d_name, "..") != 0)
			remove_all(folder, entry->d_name);
	}
	if (entries)
		closedir(entries);
	else
		close(folder);
	unlinkat(at, name, AT_REMOVEDIR);
}

// -- a tree that is there

static bool has_digest(int file, const char *wanted)
{
	static char buffer[1 << 18];
	struct blake2b state;
	uint8_t digest[DIGEST_SIZE];
	char text[2 * DIGEST_SIZE + 1];
	ssize_t got;
	blake2b_begin(&state);
	while ((got = read(file, buffer, sizeof buffer)) > 0)
		blake2b_add(&state, buffer, (size_t)got);
	blake2b_end(&state, digest);
	for (int i = 0; i < DIGEST_SIZE; i++)
		snprintf(text + 2 * i, 3, "%02x", digest[i]);
	return got == 0 && strcmp(text, wanted) == 0;
}

static bool is_later(struct timespec one, struct timespec other)
{
	return one.tv_sec != other.tv_sec ? one.tv_sec > other.tv_sec : one.tv_nsec > other.tv_nsec;
}

// `line`: "size digest name"; `since`: when all files were known to be whole, NULL if that is not known; `looked` is
// set if the content had to be looked at
static bool is_file_whole(int tree, char *line, const struct timespec *since, bool *looked)
{
	struct stat status;
	char *digest = strchr(line, ' '), *name = digest ? strchr(digest + 1, ' ') : NULL;
	if (!name)
		return false;
	*digest++ = *name++ = 0;
	if (fstatat(tree, name, &status, AT_SYMLINK_NOFOLLOW) || !S_ISREG(status.st_mode) ||
	    (uint64_t)status.st_size != strtoull(line, NULL, 10))
		return false;
	if (since && !is_later(status.st_ctim, *since))
		return true;
	*looked = true;
	int file = openat(tree, name, O_RDONLY | O_NOFOLLOW | O_CLOEXEC);
	bool whole = file >= 0 && has_digest(file, digest);
	if (file >= 0)
		close(file);
	return whole;
}

static bool is_manifest(const char *text, size_t size, const struct trailer *trailer)
{
	struct blake2b state;
	uint8_t digest[DIGEST_SIZE];
	blake2b_begin(&state);
	blake2b_add(&state, text, size);
	blake2b_end(&state, digest);
	return memcmp(digest, trailer->manifest_digest, sizeof digest) == 0;
}

static char *read_manifest(int tree, const struct trailer *trailer, size_t *size)
{
	struct stat status;
	int file = openat(tree, ".manifest", O_RDONLY | O_NOFOLLOW | O_CLOEXEC);
	if (file < 0)
		return NULL;
	char *text = NULL;
	if (fstat(file, &status) == 0 && status.st_size < LARGEST_MANIFEST)
		text = malloc(*size = (size_t)status.st_size);
	if (text && (read(file, text, *size) != (ssize_t)*size || !is_manifest(text, *size, trailer))) {
		free(text);
		text = NULL;
	}
	close(file);
	return text;
}

static bool is_whole(int tree, const struct trailer *trailer)
{
	size_t size;
	char *manifest = read_manifest(tree, trailer, &size), *line = manifest;
	if (!manifest)
		return false;
	struct stat durable;
	const struct timespec *since =
	    fstatat(tree, ".durable", &durable, AT_SYMLINK_NOFOLLOW) == 0 ? &durable.st_ctim : NULL;
	uint64_t whole = 0;
	bool looked = false;
	for (char *end; (end = memchr(line, '\n', size - (size_t)(line - manifest))); line = end + 1) {
		*end = 0;
		whole += is_file_whole(tree, line, since, &looked);
	}
	free(manifest);
	if (looked)
		unlinkat(tree, ".durable", 0); // made anew, so that the next start need not look again
	return whole == trailer->files;
}

// -- a tree to be made

static const char *make(const struct place *place, const struct trailer *trailer, const void *payload)
{
	struct statvfs space;
	remove_all(place->base, place->part); // of a start that was killed, or somebody's
	// without any blocks it tells no size, as a tmpfs without limit
	if (fstatvfs(place->base, &space) == 0 && space.f_blocks > 0 && space.f_bavail * space.f_frsize < trailer->unpacked)
		return "too little space";
	if (mkdirat(place->base, place->part, 0700))
		return strerror(errno);
	int part = open_folder(place->base, place->part);
	const char *why = NULL;
	if (part < 0 || payload_unpack(payload, trailer, part))
		why = errno == EBADMSG ? "the plugin's file is damaged" : strerror(errno);
	else if (renameat(place->base, place->part, place->base, place->tree))
		why = strerror(errno);
	if (part >= 0)
		close(part);
	if (why)
		remove_all(place->base, place->part);
	return why;
}

static const char *find_or_make(const struct place *place, const struct trailer *trailer, const void *payload)
{
	int tree = open_folder(place->base, place->tree);
	if (tree < 0 && errno != ENOENT)
		return errno == ENOTDIR || errno == ELOOP ? "what has the name of the unpacked tree is no folder"
		                                          : strerror(errno);
	if (tree >= 0) {
		bool mine = is_mine(tree), whole = mine && is_whole(tree, trailer);
		close(tree);
		if (!mine)
			return "the unpacked tree belongs to somebody else, or others may write to it";
		if (whole)
			return NULL;
		remove_all(place->base, place->tree);
	}
	return make(place, trailer, payload);
}

// -- who uses which

static void hold(const struct place *place)
{
	int tree = openat(place->base, place->tree, O_RDONLY | O_DIRECTORY | O_NOFOLLOW); // exec keeps it, and its lock
	if (tree >= 0)
		flock(tree, LOCK_SH | LOCK_NB);
}

static bool is_abandoned(int base, const char *name)
{
	int tree = open_folder(base, name);
	bool abandoned = tree >= 0 && is_mine(tree) && flock(tree, LOCK_EX | LOCK_NB) == 0;
	if (tree >= 0)
		close(tree);
	return abandoned;
}

// Remove trees of other versions, and what starts that were killed have left of them.
static void sweep(const struct place *place)
{
	int base = open_folder(place->base, ".");
	DIR *entries = base < 0 ? NULL : fdopendir(base);
	for (struct dirent *entry; entries && (entry = readdir(entries));) {
		const char *name = entry->d_name;
		bool tree = strncmp(name, place->prefix, strlen(place->prefix)) == 0;
		if (tree && strcmp(name, place->tree) != 0 && is_abandoned(place->base, name))
			remove_all(place->base, name);
	}
	if (entries)
		closedir(entries);
}

static const char *prepare_locked(const struct place *place, const struct trailer *trailer, const void *payload)
{
	int lock = openat(place->base, place->lock, O_RDWR | O_CREAT | O_NOFOLLOW | O_CLOEXEC, 0600);
	if (lock < 0)
		return strerror(errno);
	const char *why = NULL;
	if (!is_mine(lock))
		why = "the lock file belongs to somebody else, or others may write to it";
	while (!why && flock(lock, LOCK_EX) != 0)
		why = errno == EINTR ? NULL : strerror(errno);
	if (!why) {
		sweep(place); // first, as there may not be room for two trees
		why = find_or_make(place, trailer, payload);
	}
	if (!why)
		hold(place);
	close(lock);
	return why;
}

const char *tree_prepare(const char *base, const struct trailer *trailer, const void *payload, char path[PATH_LENGTH])
{
	struct statvfs mount;
	struct place place;
	char digest[2 * 12 + 1];
	for (int i = 0; i < 12; i++)
		snprintf(digest + 2 * i, 3, "%02x", trailer->manifest_digest[i]);
	snprintf(place.prefix, sizeof place.prefix, ".chaosplugin-%u-", (unsigned)geteuid());
	snprintf(place.tree, sizeof place.tree, "%s%s", place.prefix, digest);
	snprintf(place.part, sizeof place.part, "%s%s.part", place.prefix, digest);
	snprintf(place.lock, sizeof place.lock, ".chaosplugin-%u.lock", (unsigned)geteuid());
	if (snprintf(path, PATH_LENGTH, "%s/%s", base, place.tree) >= PATH_LENGTH)
		return "the path is too long";
	if (strpbrk(base, ":;$"))
		return "its path has a : ; or $, which the dynamic loader takes for more than one path";
	place.base = open(base, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (place.base < 0)
		return strerror(errno);
	const char *why = fstatvfs(place.base, &mount) == 0 && mount.f_flag & ST_NOEXEC
	                      ? "mounted noexec"
	                      : prepare_locked(&place, trailer, payload);
	close(place.base);
	return why;
}
