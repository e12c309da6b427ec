// The one file: [launcher][payload: one zstd frame][trailer]. packaging/onefile/payload.py writes it.
#pragma once
#include "blake2b.h"

#include <stddef.h>
#include <stdint.h>

#define MAGIC "chaosplugin-one1"

struct trailer { // the last 128 bytes; numbers are little-endian
	char magic[16];
	uint64_t offset, size; // of the payload
	uint64_t files;        // in the tree, without the manifest
	uint64_t unpacked;     // bytes that the tree takes on a disk with blocks of 4 KiB
	uint8_t payload_digest[DIGEST_SIZE];
	uint8_t manifest_digest[DIGEST_SIZE]; // the tree's name: its manifest has the digest of each file
	uint8_t spare[16];
};

_Static_assert(sizeof(struct trailer) == 128, "the trailer is read as it lies in the file");

struct record { // of the unpacked payload; name and content follow
	uint64_t size;
	uint16_t name_length;
	uint8_t kind; // 'd' folder, 'f' file, 'x' executable file, 0 the end
	uint8_t spare[5];
};

_Static_assert(sizeof(struct record) == 16, "records are read as they lie in the payload");

enum { NAME_LENGTH = 511 };

// Write the tree into a folder. Returns 0, or -1 with errno; EBADMSG: the payload is damaged.
int payload_unpack(const void *payload, const struct trailer *trailer, int folder);
