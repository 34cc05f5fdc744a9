/* Thousands of WebSocket clients in one thread: the load generator. Called through ctypes; see ../generator.py. */
#ifndef CLIENTS_H
#define CLIENTS_H

#include <stddef.h>
#include <stdint.h>

/* Counters since the last reset; ../generator.py mirrors this struct. */
struct counts {
    uint64_t messages;        /* data frames with a number; in COUNT mode all data frames */
    uint64_t greetings;       /* data frames without one: what a server says of itself */
    uint64_t states;          /* initial_state frames */
    uint64_t lost;            /* numbers skipped */
    uint64_t doubled;         /* numbers at or below the client's last */
    uint64_t closed;          /* connections that the server ended */
    uint64_t refused;         /* handshakes that were not answered with 101 */
    uint64_t open;            /* connections open now */
    uint64_t connecting;      /* connections on their way */
    uint64_t bytes;           /* received */
    uint64_t receives;        /* recv calls that brought something */
    uint64_t last_receive_ns; /* CLOCK_MONOTONIC of the last message */
    uint64_t close_code;      /* of the last close frame */
};

enum inspection { COUNT = 0, EACH = 1 };

struct clients;

struct clients *clients_new(uint32_t most, uint32_t most_latencies);
void clients_free(struct clients *all);

/* Open client `index` (again). `request` is the HTTP upgrade; `hello`, a whole frame, is sent once it is answered. 0, or errno. */
int clients_connect(struct clients *all, uint32_t index, uint32_t group, uint16_t port, const char *request,
                    uint32_t request_bytes, const char *hello, uint32_t hello_bytes);

/* Receive until `target` messages have come in all, or the time is up. Returns the messages. */
uint64_t clients_poll(struct clients *all, int timeout_ms, uint64_t target);

void clients_inspect(struct clients *all, int inspection);
void clients_reset(struct clients *all, uint64_t number);
/* Drop every connection with a reset, as a lost link would. */
void clients_cut(struct clients *all);

const struct counts *clients_counts(const struct clients *all);
uint64_t clients_fewest_messages(const struct clients *all);
uint64_t clients_lowest_number(const struct clients *all);
/* Clients that are not back, or know less than another client of their group. */
uint64_t clients_behind(const struct clients *all);
const char *clients_cursor(const struct clients *all, uint32_t index);
/* Microseconds of each message from `@<ns>` in it to its receipt. */
const uint32_t *clients_latencies(const struct clients *all, uint32_t *count);

/* The trivial sender that shows the generator's ceiling: `frame` is written `times` times to each of `count` clients. */
int flood(int listener, uint32_t count, const char *frame, uint32_t frame_bytes, uint32_t times);

#endif
