// The one file's program: unpacks the tree once, then becomes the plugin by exec.
//
// Static, and without fork: the process that the controller knows IS the plugin, and the file itself is held by
// nobody afterwards, so that a controller which restarts can write over it. Needs no /proc.
//   FILE install DEST   copies the file, without unpacking: an init container from scratch has no cp and no /tmp
//   FILE ANYTHING ELSE  runs the plugin
// Exit code 126: it could not be started; one line on stderr says why.
#define _GNU_SOURCE
#include "tree.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/auxv.h>
#include <sys/file.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#ifdef __x86_64__
#define LOADER "ld-linux-x86-64.so.2"
#else
#define LOADER "ld-linux-aarch64.so.1"
#endif
#define ROOTS "/etc/ssl/certs/ca-certificates.crt"

extern char **environ;

__attribute__((format(printf, 1, 2), noreturn)) static void die(const char *format, ...)
{
	char line[8192];
	va_list arguments;
	va_start(arguments, format);
	vsnprintf(line, sizeof line, format, arguments);
	va_end(arguments);
	dprintf(STDERR_FILENO, "[ERROR] chaosplugin: %s\n", line); // the controller's log knows this prefix
	_exit(126);
}

// -- install

static void copy(int from, int to, const char *name)
{
	static char buffer[1 << 18];
	ssize_t got;
	if (lseek(from, 0, SEEK_SET) != 0)
		die("%s", strerror(errno));
	while ((got = read(from, buffer, sizeof buffer)) > 0) {
		for (ssize_t done = 0, written; done < got; done += written) {
			written = write(to, buffer + done, (size_t)(got - done));
			if (written < 0) {
				int why = errno;
				unlink(name);
				die("cannot install: %s: %s", name, strerror(why));
			}
		}
	}
	if (got < 0) {
		int why = errno;
		unlink(name);
		die("cannot read the plugin's file: %s", strerror(why));
	}
}

// Wait for others who install there: each would take the other's part for one that a killed one has left.
static void lock_folder_of(const char *path)
{
	char folder[PATH_LENGTH];
	const char *slash = strrchr(path, '/');
	snprintf(folder, sizeof folder, "%.*s", slash ? (int)(slash - path) + 1 : 1, slash ? path : ".");
	int held = open(folder, O_RDONLY | O_DIRECTORY | O_CLOEXEC); // until our end
	while (held >= 0 && flock(held, LOCK_EX) && errno == EINTR)
		;
}

static void install(int self, const char *target)
{
	struct stat status;
	char path[PATH_LENGTH], part[PATH_LENGTH + 16];
	bool into = stat(target, &status) == 0 && S_ISDIR(status.st_mode);
	snprintf(path, sizeof path, "%s%s", target, into ? "/chaosplugin" : "");
	snprintf(part, sizeof part, "%s.part", path);
	lock_folder_of(path);
	unlink(part); // of an init container that was killed
	int file = open(part, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0755);
	if (file < 0)
		die("cannot install: %s: %s", part, strerror(errno));
	copy(self, file, part);
	if (fchmod(file, 0755) || fsync(file) || close(file) || rename(part, path)) {
		int why = errno;
		unlink(part);
		die("cannot install: %s: %s", path, strerror(why));
	}
	printf("installed %s\n", path);
}

// -- run

static void read_trailer(int self, struct trailer *trailer)
{
	struct stat status;
	if (fstat(self, &status) || status.st_size < (off_t)sizeof *trailer ||
	    pread(self, trailer, sizeof *trailer, status.st_size - (off_t)sizeof *trailer) != sizeof *trailer ||
	    memcmp(trailer->magic, MAGIC, sizeof trailer->magic) != 0 ||
	    trailer->offset > (uint64_t)status.st_size ||
	    trailer->offset + trailer->size + sizeof *trailer != (uint64_t)status.st_size)
		die("the plugin's file is cut off, or was changed: download it again and compare its sha256");
}

static bool is_private(const char *folder)
{
	struct stat status;
	return stat(folder, &status) == 0 && status.st_uid == geteuid() && (status.st_mode & 022) == 0;
}

// Unpack where it is possible, or end. The folder of the file comes first if only we can write to it, as is the
// controller's plugin-bin; then the one for temporary files.
static void unpack(int self, const struct trailer *trailer, const char *folder, char path[PATH_LENGTH])
{
	const char *given = getenv("CHAOSPLUGIN_CACHE"), *temporary = getenv("TMPDIR");
	const char *bases[] = {given, is_private(folder) ? folder : NULL, temporary, "/tmp"};
	char reasons[6144] = "", *end = reasons;
	const char *payload = mmap(NULL, trailer->offset + trailer->size, PROT_READ, MAP_PRIVATE, self, 0);
	if (payload == MAP_FAILED)
		die("cannot read the plugin's file: %s", strerror(errno));
	for (size_t i = 0; i < sizeof bases / sizeof *bases; i++) {
		if (!bases[i] || !*bases[i])
			continue;
		const char *why = bases[i][0] == '/' ? tree_prepare(bases[i], trailer, payload + trailer->offset, path)
		                                     : "no absolute path";
		if (!why)
			return; // exec ends the mapping
		end += snprintf(end, (size_t)(reasons + sizeof reasons - end), "; %.1024s: %.128s", bases[i], why);
	}
	die("needs a folder to unpack into, with %llu MB, writable and not noexec; set CHAOSPLUGIN_CACHE%s",
	    (unsigned long long)(trailer->unpacked / 1000000 + 1), reasons);
}

static void become(char path[PATH_LENGTH], char *self, int argc, char **argv)
{
	char loader[PATH_LENGTH + 32], libraries[PATH_LENGTH + 8], program[PATH_LENGTH + 16];
	snprintf(loader, sizeof loader, "%s/lib/" LOADER, path);
	snprintf(libraries, sizeof libraries, "%s/lib", path);
	snprintf(program, sizeof program, "%s/bin/chaosplugin", path);
	char *first[] = {loader, "--inhibit-cache", "--library-path", libraries, "--argv0", self, program, path};
	size_t given = argc > 1 ? (size_t)argc - 1 : 0, count = sizeof first / sizeof *first;
	char **arguments = calloc(count + given + 1, sizeof *arguments);
	if (!arguments)
		die("%s", strerror(errno));
	memcpy(arguments, first, sizeof first);
	memcpy(arguments + count, argv + 1, given * sizeof *arguments);
	unsetenv("LD_LIBRARY_PATH"); // meant for programs of the machine, not for the bundled loader
	unsetenv("LD_PRELOAD");
	unsetenv("LD_AUDIT");
	setenv("HOME", "/", 0); // Python looks up a home where the user has none
	if (access(ROOTS, R_OK) == 0)
		setenv("SSL_CERT_FILE", ROOTS, 0); // the bundled OpenSSL looks elsewhere
	execve(loader, arguments, environ);
	die("cannot start %s: %s", loader, strerror(errno));
}

// Let SIGTERM wait for Python: of a container's first process the kernel drops what nobody handles yet, and
// its pod would be killed only after the grace period.
static void keep_signal(void)
{
	sigset_t kept;
	sigemptyset(&kept);
	sigaddset(&kept, SIGTERM);
	sigprocmask(SIG_BLOCK, &kept, NULL);
}

int main(int argc, char **argv)
{
	if (getpid() == 1)
		keep_signal();
	static char path[PATH_LENGTH], absolute[PATH_LENGTH], folder[PATH_LENGTH];
	struct trailer trailer;
	char *name = (char *)getauxval(AT_EXECFN);
	int self = name ? open(name, O_RDONLY | O_CLOEXEC) : -1;
	if (self < 0 || !realpath(name, absolute))
		die("cannot open the plugin's file %s: %s", name ? name : "", strerror(errno));
	read_trailer(self, &trailer);
	if (argc > 1 && strcmp(argv[1], "install") == 0) {
		if (argc != 3)
			die("install wants one argument: where to, a file or a folder");
		install(self, argv[2]);
		return 0;
	}
	char *slash = strrchr(absolute, '/'); // of an absolute path; the root keeps its own
	snprintf(folder, sizeof folder, "%.*s", slash == absolute ? 1 : (int)(slash - absolute), absolute);
	mode_t mask = umask(077);
	unpack(self, &trailer, folder, path);
	umask(mask);
	become(path, absolute, argc, argv);
}
