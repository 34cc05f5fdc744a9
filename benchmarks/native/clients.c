#define _GNU_SOURCE
#include "clients.h"

#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

enum { RECEIVE_BYTES = 1 << 20, EVENTS = 512, CURSOR_BYTES = 48 };
enum state { UNUSED, CONNECTING, UPGRADING, OPEN, GONE };

struct client {
    int fd;
    enum state state;
    uint32_t group;
    uint8_t heard; /* anything since it was opened */
    uint64_t messages;
    uint64_t number;           /* the highest `#<number>` seen */
    char cursor[CURSOR_BYTES]; /* the last `"id":"…"` seen */
    char *outgoing;            /* request and hello, until they are sent */
    uint32_t request_bytes, hello_bytes;
    uint8_t *tail; /* the begun frame that the last receive ended with */
    uint32_t tail_bytes, tail_room;
};

struct clients {
    struct counts counts;
    int epoll;
    int inspection;
    uint32_t most;
    struct client *each;
    uint8_t *buffer;
    uint32_t buffer_bytes;
    uint32_t *latencies;
    uint32_t latency_count, most_latencies;
};

static uint64_t now_ns(void) {
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (uint64_t)now.tv_sec * 1000000000u + (uint64_t)now.tv_nsec;
}

struct clients *clients_new(uint32_t most, uint32_t most_latencies) {
    struct clients *all = calloc(1, sizeof *all);
    all->epoll = epoll_create1(EPOLL_CLOEXEC);
    all->most = most;
    all->each = calloc(most, sizeof *all->each);
    all->buffer_bytes = RECEIVE_BYTES;
    all->buffer = malloc(all->buffer_bytes);
    all->most_latencies = most_latencies;
    all->latencies = malloc(sizeof *all->latencies * (most_latencies ? most_latencies : 1));
    for (uint32_t i = 0; i < most; i++)
        all->each[i].fd = -1;
    return all;
}

/* Close with a reset: no TIME_WAIT, so ports do not run out from one round to the next. */
static void drop(struct clients *all, struct client *client) {
    if (client->fd >= 0) {
        struct linger reset = {1, 0};
        setsockopt(client->fd, SOL_SOCKET, SO_LINGER, &reset, sizeof reset);
        close(client->fd);
        client->fd = -1;
    }
    if (client->state == OPEN)
        all->counts.open--;
    else if (client->state == CONNECTING || client->state == UPGRADING)
        all->counts.connecting--;
    client->state = GONE;
    client->tail_bytes = 0;
    free(client->outgoing);
    client->outgoing = NULL;
}

void clients_cut(struct clients *all) {
    for (uint32_t i = 0; i < all->most; i++)
        if (all->each[i].fd >= 0)
            drop(all, &all->each[i]);
}

void clients_free(struct clients *all) {
    clients_cut(all);
    for (uint32_t i = 0; i < all->most; i++)
        free(all->each[i].tail);
    close(all->epoll);
    free(all->each);
    free(all->buffer);
    free(all->latencies);
    free(all);
}

int clients_connect(struct clients *all, uint32_t index, uint32_t group, uint16_t port, const char *request,
                    uint32_t request_bytes, const char *hello, uint32_t hello_bytes) {
    struct client *client = &all->each[index];
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_port = htons(port)};
    struct epoll_event event = {.events = EPOLLOUT, .data.u32 = index};
    int yes = 1;

    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    client->fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (client->fd < 0)
        return errno;
    setsockopt(client->fd, IPPROTO_TCP, TCP_NODELAY, &yes, sizeof yes);
    client->group = group;
    client->heard = 0;
    client->state = CONNECTING;
    all->counts.connecting++;
    client->outgoing = malloc(request_bytes + hello_bytes);
    memcpy(client->outgoing, request, request_bytes);
    memcpy(client->outgoing + request_bytes, hello, hello_bytes);
    client->request_bytes = request_bytes;
    client->hello_bytes = hello_bytes;
    if ((connect(client->fd, (struct sockaddr *)&address, sizeof address) < 0 && errno != EINPROGRESS) ||
        epoll_ctl(all->epoll, EPOLL_CTL_ADD, client->fd, &event) < 0) {
        int error = errno;
        drop(all, client);
        return error;
    }
    return 0;
}

static uint64_t digits(const uint8_t *at, const uint8_t *end) {
    uint64_t value = 0;
    while (at < end && *at >= '0' && *at <= '9')
        value = value * 10 + (uint64_t)(*at++ - '0');
    return value;
}

static void note_cursor(struct client *client, const uint8_t *payload, size_t size) {
    const uint8_t *at = memmem(payload, size, "\"id\":\"", 6), *end;
    if (at == NULL)
        return;
    at += 6;
    end = memchr(at, '"', (size_t)(payload + size - at));
    if (end != NULL && end - at < CURSOR_BYTES) {
        memcpy(client->cursor, at, (size_t)(end - at));
        client->cursor[end - at] = 0;
    }
}

/* Look into one message: its number in the run, its age, its cursor. */
static void inspect(struct clients *all, struct client *client, const uint8_t *payload, size_t size, uint64_t now) {
    static const char initial[] = "{\"type\":\"initial_state\"";
    const uint8_t *end = payload + size, *mark, *sent;

    client->heard = 1;
    note_cursor(client, payload, size);
    if (size > sizeof initial && memcmp(payload, initial, sizeof initial - 1) == 0) {
        all->counts.states++;
        return;
    }
    mark = memchr(payload, '#', size);
    if (mark == NULL) {
        all->counts.greetings++;
        return;
    }
    uint64_t number = digits(mark + 1, end);
    if (number <= client->number)
        all->counts.doubled++;
    else {
        all->counts.lost += number - client->number - 1;
        client->number = number;
    }
    sent = memchr(mark, '@', (size_t)(end - mark));
    if (sent != NULL && all->latency_count < all->most_latencies) {
        uint64_t age_us = (now - digits(sent + 1, end)) / 1000;
        all->latencies[all->latency_count++] = age_us > UINT32_MAX ? UINT32_MAX : (uint32_t)age_us;
    }
    client->messages++;
    all->counts.messages++;
    all->counts.last_receive_ns = now;
}

/* In COUNT mode only the last frame of a receive is looked into: where the client stands. */
static void note_number(struct client *client, const uint8_t *payload, size_t size) {
    const uint8_t *mark = memchr(payload, '#', size);
    if (mark != NULL)
        client->number = digits(mark + 1, payload + size);
}

static void pong(struct client *client, const uint8_t *payload, size_t size) {
    uint8_t frame[6 + 125] = {0x8a, (uint8_t)(0x80 | size)}; /* masked with zeros */
    memcpy(frame + 6, payload, size);
    (void)!send(client->fd, frame, 6 + size, MSG_NOSIGNAL);
}

/* Work off whole frames; returns how many bytes they took. Servers do not mask (RFC 6455, section 5.1). */
static size_t take_frames(struct clients *all, struct client *client, const uint8_t *data, size_t size, uint64_t now) {
    const uint8_t *last = NULL;
    size_t at = 0, last_size = 0, counted = 0;

    while (size - at >= 2) {
        size_t head = 2, length = data[at + 1] & 0x7f;
        if (length == 126) {
            if (size - at < 4)
                break;
            head = 4;
            length = (size_t)data[at + 2] << 8 | data[at + 3];
        } else if (length == 127) {
            if (size - at < 10)
                break;
            head = 10;
            length = 0;
            for (int i = 2; i < 10; i++)
                length = length << 8 | data[at + i];
        }
        if (size - at - head < length)
            break;
        const uint8_t *payload = data + at + head;
        int opcode = data[at] & 0x0f;
        if (opcode == 8) {
            all->counts.closed++;
            all->counts.close_code = length >= 2 ? (uint64_t)(payload[0] << 8 | payload[1]) : 1005;
            drop(all, client);
            return size;
        }
        if (opcode == 9)
            pong(client, payload, length);
        else if (opcode < 8 && data[at] & 0x80) {
            if (all->inspection == EACH)
                inspect(all, client, payload, length, now);
            else {
                counted++;
                last = payload;
                last_size = length;
            }
        }
        at += head + length;
    }
    if (counted) {
        client->heard = 1;
        client->messages += counted;
        all->counts.messages += counted;
        all->counts.last_receive_ns = now;
        note_number(client, last, last_size);
    }
    return at;
}

static void keep_tail(struct client *client, const uint8_t *data, size_t size) {
    if (size > client->tail_room) {
        client->tail_room = (uint32_t)(size < 1024 ? 1024 : size);
        client->tail = realloc(client->tail, client->tail_room);
    }
    if (size)
        memcpy(client->tail, data, size);
    client->tail_bytes = (uint32_t)size;
}

/* The answer to the upgrade; what follows it is frames already. */
static size_t take_answer(struct clients *all, struct client *client, const uint8_t *data, size_t size) {
    const uint8_t *end = memmem(data, size, "\r\n\r\n", 4);
    if (end == NULL)
        return 0;
    if (size < 12 || memcmp(data + 9, "101", 3) != 0) {
        all->counts.refused++;
        drop(all, client);
        return size;
    }
    client->state = OPEN;
    all->counts.connecting--;
    all->counts.open++;
    if (client->hello_bytes)
        (void)!send(client->fd, client->outgoing + client->request_bytes, client->hello_bytes, MSG_NOSIGNAL);
    free(client->outgoing);
    client->outgoing = NULL;
    return (size_t)(end + 4 - data);
}

/* Receive what is there. Returns whether there may be more: epoll is edge-triggered and tells only what is new. */
static int receive(struct clients *all, struct client *client) {
    size_t have = client->tail_bytes, taken = 0;
    if (have + RECEIVE_BYTES / 2 > all->buffer_bytes) {
        all->buffer_bytes = (uint32_t)have + RECEIVE_BYTES;
        all->buffer = realloc(all->buffer, all->buffer_bytes);
    }
    if (have)
        memcpy(all->buffer, client->tail, have);
    ssize_t got = recv(client->fd, all->buffer + have, all->buffer_bytes - have, 0);
    if (got <= 0) {
        if (got < 0 && errno == EAGAIN)
            return 0;
        if (got < 0 && errno == EINTR)
            return 1;
        if (client->state == OPEN)
            all->counts.closed++;
        else
            all->counts.refused++;
        drop(all, client);
        return 0;
    }
    size_t asked = all->buffer_bytes - have;
    all->counts.bytes += (uint64_t)got;
    all->counts.receives++;
    have += (size_t)got;
    if (client->state == UPGRADING)
        taken = take_answer(all, client, all->buffer, have);
    if (client->state == OPEN)
        taken += take_frames(all, client, all->buffer + taken, have - taken, now_ns());
    if (client->fd < 0)
        return 0;
    keep_tail(client, all->buffer + taken, have - taken);
    return (size_t)got == asked;
}

static void connected(struct clients *all, struct client *client, uint32_t index) {
    struct epoll_event event = {.events = EPOLLIN | EPOLLRDHUP | EPOLLET, .data.u32 = index};
    if (send(client->fd, client->outgoing, client->request_bytes, MSG_NOSIGNAL) != (ssize_t)client->request_bytes) {
        all->counts.refused++;
        drop(all, client);
        return;
    }
    client->state = UPGRADING;
    epoll_ctl(all->epoll, EPOLL_CTL_MOD, client->fd, &event);
}

uint64_t clients_poll(struct clients *all, int timeout_ms, uint64_t target) {
    struct epoll_event events[EVENTS];
    uint64_t deadline = now_ns() + (uint64_t)timeout_ms * 1000000u, now;

    while (all->counts.messages < target && (now = now_ns()) < deadline) {
        int ready = epoll_wait(all->epoll, events, EVENTS, (int)((deadline - now) / 1000000u) + 1);
        for (int i = 0; i < ready; i++) {
            struct client *client = &all->each[events[i].data.u32];
            if (client->state == CONNECTING)
                connected(all, client, events[i].data.u32);
            else /* after the last data may come an end, which is not told of a second time */
                while (client->fd >= 0 && (receive(all, client) || events[i].events & (EPOLLRDHUP | EPOLLHUP)))
                    ;
        }
    }
    return all->counts.messages;
}

void clients_inspect(struct clients *all, int inspection) { all->inspection = inspection; }

void clients_reset(struct clients *all, uint64_t number) {
    struct counts fresh = {.open = all->counts.open, .connecting = all->counts.connecting};
    all->counts = fresh;
    all->latency_count = 0;
    for (uint32_t i = 0; i < all->most; i++) {
        all->each[i].messages = 0;
        all->each[i].number = number;
    }
}

const struct counts *clients_counts(const struct clients *all) { return &all->counts; }

uint64_t clients_fewest_messages(const struct clients *all) {
    uint64_t fewest = UINT64_MAX;
    for (uint32_t i = 0; i < all->most; i++)
        if (all->each[i].state != UNUSED && all->each[i].messages < fewest)
            fewest = all->each[i].messages;
    return fewest;
}

uint64_t clients_lowest_number(const struct clients *all) {
    uint64_t lowest = UINT64_MAX;
    for (uint32_t i = 0; i < all->most; i++)
        if (all->each[i].state != UNUSED && all->each[i].number < lowest)
            lowest = all->each[i].number;
    return lowest;
}

uint64_t clients_behind(const struct clients *all) {
    uint64_t *head = calloc(all->most, sizeof *head), behind = 0;
    for (uint32_t i = 0; i < all->most; i++)
        if (all->each[i].number > head[all->each[i].group])
            head[all->each[i].group] = all->each[i].number;
    for (uint32_t i = 0; i < all->most; i++) {
        const struct client *client = &all->each[i];
        if (client->state != UNUSED &&
            (client->state != OPEN || !client->heard || client->number < head[client->group]))
            behind++;
    }
    free(head);
    return behind;
}

const char *clients_cursor(const struct clients *all, uint32_t index) { return all->each[index].cursor; }

const uint32_t *clients_latencies(const struct clients *all, uint32_t *count) {
    *count = all->latency_count;
    return all->latencies;
}
