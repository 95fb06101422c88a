/* SPDX-License-Identifier: Apache-2.0 */
/*
 * wire_fuzz: the input is a stream from a stranger. It is cut into frames as a link does it; each
 * goes to every reader. What a reader takes, its writer must give back byte for byte: one meaning,
 * one encoding.
 */
#include "../../lib/base.h"
#include "../../net/wire.h"

#define VALUE_MAX 4096u

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t len);

static unsigned char again[WIRE_FRAME_MAX];

static void same(const uint8_t *frame, size_t len, int written)
{
	ASSERT(written >= 0 && (size_t)written == len);
	ASSERT(memcmp(frame, again, len) == 0);
}

static void read_frame(const uint8_t *frame, size_t len)
{
	struct wire_hello hello;
	struct paxos_message message;
	struct paxos_entry entries[PAXOS_WINDOW_MAX];
	const unsigned char *payload;
	size_t payload_len;
	int readers = 0;

	if (wire_get_hello(frame, len, &hello) == 0) {
		same(frame, len, wire_put_hello(again, sizeof(again), &hello));
		readers++;
	}
	if (wire_get_paxos(frame, len, &message, entries, VALUE_MAX) == 0) {
		same(frame, len, wire_put_paxos(again, sizeof(again), &message));
		readers++;
	}
	if (wire_get_agent(frame, len, &payload, &payload_len) == 0) {
		same(frame, len, wire_put_agent(again, sizeof(again), payload, payload_len));
		readers++;
	}
	ASSERT(readers <= 1);
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t len)
{
	/* The readers also meet bytes that no link would pass on. */
	read_frame(bytes, len >= WIRE_HEADER ? len : 0);
	while (len) {
		int whole = wire_frame_length(bytes, len);

		if (whole <= 0 || (size_t)whole > len)
			break;
		read_frame(bytes, (size_t)whole);
		bytes += whole;
		len -= (size_t)whole;
	}
	return 0;
}
