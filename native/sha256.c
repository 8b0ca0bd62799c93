/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "sha256.h"

#include <stdint.h>
#include <stdio.h>
#include <string.h>

enum { BLOCK = 64, ROUNDS = 64, LENGTH = 8 };

/* FIPS 180-4, 4.2.2: the cube roots of the first primes. */
static const uint32_t constants[ROUNDS] = {
    0x428a2f98, 0x71374491, 0xb5c0fbcf, 0xe9b5dba5, 0x3956c25b, 0x59f111f1, 0x923f82a4, 0xab1c5ed5,
    0xd807aa98, 0x12835b01, 0x243185be, 0x550c7dc3, 0x72be5d74, 0x80deb1fe, 0x9bdc06a7, 0xc19bf174,
    0xe49b69c1, 0xefbe4786, 0x0fc19dc6, 0x240ca1cc, 0x2de92c6f, 0x4a7484aa, 0x5cb0a9dc, 0x76f988da,
    0x983e5152, 0xa831c66d, 0xb00327c8, 0xbf597fc7, 0xc6e00bf3, 0xd5a79147, 0x06ca6351, 0x14292967,
    0x27b70a85, 0x2e1b2138, 0x4d2c6dfc, 0x53380d13, 0x650a7354, 0x766a0abb, 0x81c2c92e, 0x92722c85,
    0xa2bfe8a1, 0xa81a664b, 0xc24b8b70, 0xc76c51a3, 0xd192e819, 0xd6990624, 0xf40e3585, 0x106aa070,
    0x19a4c116, 0x1e376c08, 0x2748774c, 0x34b0bcb5, 0x391c0cb3, 0x4ed8aa4a, 0x5b9cca4f, 0x682e6ff3,
    0x748f82ee, 0x78a5636f, 0x84c87814, 0x8cc70208, 0x90befffa, 0xa4506ceb, 0xbef9a3f7, 0xc67178f2,
};

static uint32_t rotate(uint32_t word, int count)
{
	return word >> count | word << (32 - count);
}

static uint32_t load(const unsigned char *bytes)
{
	return (uint32_t)bytes[0] << 24 | bytes[1] << 16 | bytes[2] << 8 | bytes[3];
}

static void add_block(uint32_t state[8], const unsigned char *block)
{
	uint32_t words[ROUNDS], now[8];

	for (int i = 0; i < 16; i++)
		words[i] = load(block + 4 * i);
	for (int i = 16; i < ROUNDS; i++) {
		uint32_t early = words[i - 15], late = words[i - 2];

		words[i] = words[i - 16] + (rotate(early, 7) ^ rotate(early, 18) ^ early >> 3) +
			   words[i - 7] + (rotate(late, 17) ^ rotate(late, 19) ^ late >> 10);
	}
	memcpy(now, state, sizeof(now));
	for (int i = 0; i < ROUNDS; i++) {
		uint32_t a = now[0], e = now[4];
		uint32_t one = now[7] + (rotate(e, 6) ^ rotate(e, 11) ^ rotate(e, 25)) +
			       ((e & now[5]) ^ (~e & now[6])) + constants[i] + words[i];
		uint32_t other = (rotate(a, 2) ^ rotate(a, 13) ^ rotate(a, 22)) +
				 ((a & now[1]) ^ (a & now[2]) ^ (now[1] & now[2]));

		memmove(now + 1, now, 7 * sizeof(*now));
		now[4] += one;
		now[0] = one + other;
	}
	for (int i = 0; i < 8; i++)
		state[i] += now[i];
}

void sha256_bytes(const unsigned char *bytes, size_t size, unsigned char digest[SHA256_SIZE])
{
	uint32_t state[8] = {0x6a09e667, 0xbb67ae85, 0x3c6ef372, 0xa54ff53a,
			     0x510e527f, 0x9b05688c, 0x1f83d9ab, 0x5be0cd19};
	unsigned char last[2 * BLOCK] = {0};
	size_t rest = size % BLOCK;
	size_t padded = rest + 1 + LENGTH <= BLOCK ? BLOCK : 2 * BLOCK;
	uint64_t bits = (uint64_t)size * 8;

	for (size_t done = 0; done + BLOCK <= size; done += BLOCK)
		add_block(state, bytes + done);
	memcpy(last, bytes + size - rest, rest);
	last[rest] = 0x80;
	for (int i = 0; i < LENGTH; i++)
		last[padded - 1 - i] = bits >> 8 * i;
	for (size_t done = 0; done < padded; done += BLOCK)
		add_block(state, last + done);
	for (int i = 0; i < SHA256_SIZE; i++)
		digest[i] = state[i / 4] >> (24 - i % 4 * 8);
}

void sha256(const unsigned char *bytes, size_t size, char text[SHA256_TEXT])
{
	unsigned char digest[SHA256_SIZE];

	sha256_bytes(bytes, size, digest);
	for (int i = 0; i < SHA256_SIZE; i++)
		sprintf(text + 2 * i, "%02x", digest[i]);
}
