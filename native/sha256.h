/* SPDX-License-Identifier: LGPL-2.1-or-later */
#ifndef JAILRUN_SHA256_H
#define JAILRUN_SHA256_H

#include <stddef.h>

enum { SHA256_SIZE = 32, SHA256_TEXT = 65 };

/* The SHA-256 digest (FIPS 180-4) of the bytes. */
void sha256_bytes(const unsigned char *bytes, size_t size, unsigned char digest[SHA256_SIZE]);

/* The same in lower-case hexadecimal. */
void sha256(const unsigned char *bytes, size_t size, char text[SHA256_TEXT]);

#endif
