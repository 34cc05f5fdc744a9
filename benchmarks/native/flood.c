#define _GNU_SOURCE
#include "clients.h"

#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

/* Nobody checks the key: the generator does not, and this server is for nobody else. */
static const char answer[] = "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
                             "Sec-WebSocket-Accept: c3BlZWQ=\r\n\r\n";

static int greet(int fd) {
    char request[4096];
    size_t have = 0;
    while (have < 4 || memcmp(request + have - 4, "\r\n\r\n", 4) != 0) {
        ssize_t got = recv(fd, request + have, sizeof request - have, 0);
        if (got <= 0)
            return -1;
        have += (size_t)got;
    }
    return send(fd, answer, sizeof answer - 1, MSG_NOSIGNAL) < 0 ? -1 : 0;
}

static int write_all(int fd, const char *data, size_t size) {
    while (size) {
        ssize_t sent = send(fd, data, size, MSG_NOSIGNAL);
        if (sent <= 0)
            return -1;
        data += sent;
        size -= (size_t)sent;
    }
    return 0;
}

int flood(int listener, uint32_t count, const char *frame, uint32_t frame_bytes, uint32_t times) {
    int *fds = malloc(sizeof *fds * count), failed = 0;
    char start;
    for (uint32_t i = 0; i < count; i++) {
        fds[i] = accept(listener, NULL, NULL);
        if (fds[i] < 0 || greet(fds[i]) < 0)
            return -1;
    }
    if (read(STDIN_FILENO, &start, 1) != 1) /* the generator says when */
        return -1;
    for (uint32_t n = 0; n < times && !failed; n++)
        for (uint32_t i = 0; i < count && !failed; i++)
            failed = write_all(fds[i], frame, frame_bytes);
    for (uint32_t i = 0; i < count; i++) {
        char byte;
        while (!failed && recv(fds[i], &byte, 1, 0) > 0) /* until the client has read all and leaves */
            ;
        close(fds[i]);
    }
    free(fds);
    return failed;
}
