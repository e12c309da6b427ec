#define _GNU_SOURCE
#include "payload.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <zstd.h>
#include <zstd_errors.h>

enum { CHUNK = 1 << 20 };

struct reader { // gives the frame's content in pieces as they are asked for
	ZSTD_DCtx *context;
	ZSTD_inBuffer in;
	char *chunk;
	size_t begin, end;
	size_t expected; // 0 when the frame has ended and its checksum was right
};

static int damaged(void)
{
	errno = EBADMSG;
	return -1;
}

static int undone(size_t code) // what zstd says
{
	if (ZSTD_getErrorCode(code) != ZSTD_error_memory_allocation)
		return damaged();
	errno = ENOMEM;
	return -1;
}

static int refill(struct reader *reader)
{
	ZSTD_outBuffer out = {reader->chunk, CHUNK, 0};
	while (out.pos == 0) {
		size_t before = reader->in.pos;
		reader->expected = ZSTD_decompressStream(reader->context, &out, &reader->in);
		if (ZSTD_isError(reader->expected))
			return undone(reader->expected);
		if (out.pos == 0 && (reader->expected == 0 || reader->in.pos == before))
			return damaged(); // more was promised
	}
	reader->begin = 0;
	reader->end = out.pos;
	return 0;
}

static int next_piece(struct reader *reader, size_t at_most, const char **piece, size_t *size)
{
	if (reader->begin == reader->end && refill(reader))
		return -1;
	size_t held = reader->end - reader->begin;
	*size = held < at_most ? held : at_most;
	*piece = reader->chunk + reader->begin;
	reader->begin += *size;
	return 0;
}

static int take(struct reader *reader, void *target, size_t size)
{
	for (char *to = target; size > 0;) {
		const char *piece;
		size_t got;
		if (next_piece(reader, size, &piece, &got))
			return -1;
		memcpy(to, piece, got);
		to += got;
		size -= got;
	}
	return 0;
}

static int write_all(int file, const char *data, size_t size)
{
	while (size > 0) {
		ssize_t written = write(file, data, size);
		if (written < 0 && errno == EINTR)
			continue;
		if (written < 0)
			return -1;
		data += written;
		size -= (size_t)written;
	}
	return 0;
}

static int write_file(struct reader *reader, int folder, const char *name, mode_t mode, uint64_t size)
{
	int file = openat(folder, name, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, mode);
	if (file < 0)
		return -1;
	while (size > 0) {
		const char *piece;
		size_t got;
		if (next_piece(reader, size, &piece, &got) || write_all(file, piece, got)) {
			int why = errno;
			close(file);
			errno = why;
			return -1;
		}
		size -= got;
	}
	return close(file);
}

static int read_records(struct reader *reader, int folder)
{
	for (;;) {
		struct record record;
		char name[NAME_LENGTH + 1];
		if (take(reader, &record, sizeof record))
			return -1;
		if (record.kind == 0)
			return 0;
		if (record.name_length > NAME_LENGTH)
			return damaged();
		if (take(reader, name, record.name_length))
			return -1;
		name[record.name_length] = 0;
		if (name[0] == '/' || strstr(name, "..")) // never out of the folder
			return damaged();
		int failed = record.kind == 'd' ? mkdirat(folder, name, 0700)
		                                : write_file(reader, folder, name, record.kind == 'x' ? 0700 : 0600, record.size);
		if (failed)
			return -1;
	}
}

static int read_to_the_end(struct reader *reader) // makes zstd look at its checksum
{
	while (reader->expected != 0) {
		ZSTD_outBuffer out = {reader->chunk, CHUNK, 0};
		size_t before = reader->in.pos;
		reader->expected = ZSTD_decompressStream(reader->context, &out, &reader->in);
		if (ZSTD_isError(reader->expected) || out.pos > 0 || (reader->expected != 0 && reader->in.pos == before))
			return damaged();
	}
	return 0;
}

static int is_whole(const void *payload, const struct trailer *trailer)
{
	struct blake2b state;
	uint8_t digest[DIGEST_SIZE];
	blake2b_begin(&state);
	blake2b_add(&state, payload, trailer->size);
	blake2b_end(&state, digest);
	return memcmp(digest, trailer->payload_digest, sizeof digest) == 0;
}

int payload_unpack(const void *payload, const struct trailer *trailer, int folder)
{
	if (!is_whole(payload, trailer))
		return damaged();
	struct reader reader = {.context = ZSTD_createDCtx(),
	                        .in = {payload, trailer->size, 0},
	                        .chunk = malloc(CHUNK),
	                        .expected = 1};
	int failed = -1;
	errno = ENOMEM;
	if (reader.context && reader.chunk)
		failed = read_records(&reader, folder) || read_to_the_end(&reader) ? -1 : 0;
	int why = errno;
	ZSTD_freeDCtx(reader.context);
	free(reader.chunk);
	errno = why;
	return failed;
}
