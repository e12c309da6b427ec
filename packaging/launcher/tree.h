// The unpacked tree: found or made in a folder, checked, and kept from being swept while it is used.
#pragma once
#include "payload.h"

enum { PATH_LENGTH = 4096 };

// Make the tree ready in the folder `base` and put its path into `path`. Takes a lock for as long as the process
// lives, also after exec. Returns NULL, or why this folder cannot be used.
const char *tree_prepare(const char *base, const struct trailer *trailer, const void *payload, char path[PATH_LENGTH]);
