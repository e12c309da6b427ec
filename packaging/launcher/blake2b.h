// BLAKE2b-256 (RFC 7693), unkeyed: what Python's hashlib.blake2b(digest_size=32) computes.
#pragma once
#include <stddef.h>
#include <stdint.h>

enum { DIGEST_SIZE = 32 };

struct blake2b {
	uint64_t h[8], count;
	uint8_t block[128];
	size_t filled;
};

void blake2b_begin(struct blake2b *state);
void blake2b_add(struct blake2b *state, const void *data, size_t size);
void blake2b_end(struct blake2b *state, uint8_t digest[DIGEST_SIZE]);
