/* Networks and sockets of the host. */
#include <arpa/inet.h>
#include <linux/netlink.h>
#include <linux/rtnetlink.h>
#include <linux/vm_sockets.h>
#include <netinet/in.h>
#include <netinet/ip.h>

static socklen_t address_of(const char *host, int port, struct sockaddr_storage *address) {
    struct sockaddr_in *v4 = (void *)address;
    struct sockaddr_in6 *v6 = (void *)address;
    memset(address, 0, sizeof *address);
    if (inet_pton(AF_INET, host, &v4->sin_addr) == 1) {
        v4->sin_family = AF_INET;
        v4->sin_port = htons(port);
        return sizeof *v4;
    }
    inet_pton(AF_INET6, host, &v6->sin6_addr);
    v6->sin6_family = AF_INET6;
    v6->sin6_port = htons(port);
    return sizeof *v6;
}

static int attempt_tcp(int argc, char **argv) {
    struct sockaddr_storage address;
    socklen_t length = address_of(argv[0], number(argv[1]), &address);
    int fd = socket(address.ss_family, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (fd < 0)
        return unclear("socket");
    return result(connect(fd, (void *)&address, length));
}

static int attempt_udp(int argc, char **argv) {
    struct sockaddr_storage address;
    socklen_t length = address_of(argv[0], number(argv[1]), &address);
    int fd = socket(address.ss_family, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    if (fd < 0)
        return unclear("socket");
    return result(sendto(fd, "attempt", 7, 0, (void *)&address, length));
}

static int attempt_abstract(int argc, char **argv) {
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    int kind = strcmp(argv[0], "stream") == 0 ? SOCK_STREAM : SOCK_DGRAM;
    size_t length = strlen(argv[1]);
    memcpy(address.sun_path + 1, argv[1], length);
    int fd = socket(AF_UNIX, kind | SOCK_CLOEXEC, 0);
    if (fd < 0)
        return unclear("socket");
    return result(connect(fd, (void *)&address, offsetof(struct sockaddr_un, sun_path) + 1 + length));
}

/* A Unix socket by its path. */
static int attempt_unix(int argc, char **argv) {
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    strncpy(address.sun_path, argv[0], sizeof address.sun_path - 1);
    int fd = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0);
    if (fd < 0)
        return unclear("socket");
    return result(connect(fd, (void *)&address, sizeof address));
}

static int attempt_raw(int argc, char **argv) {
    return result(socket(AF_INET, SOCK_RAW, IPPROTO_ICMP));
}

static int attempt_packet(int argc, char **argv) {
    return result(socket(AF_PACKET, SOCK_RAW, htons(3)));
}

static int attempt_vsock(int argc, char **argv) {
    return result(socket(AF_VSOCK, SOCK_STREAM, 0));
}

static int attempt_crypto(int argc, char **argv) {
    return result(socket(AF_ALG, SOCK_SEQPACKET, 0));
}

static int attempt_audit(int argc, char **argv) {
    return result(socket(AF_NETLINK, SOCK_RAW, NETLINK_AUDIT));
}

/* Gives the loopback another address, or takes it down. */
static int attempt_add_address(int argc, char **argv) {
    struct {
        struct nlmsghdr header;
        struct ifaddrmsg address;
        struct rtattr attribute;
        uint32_t value;
    } request = {
        .header = {sizeof request, RTM_NEWADDR, NLM_F_REQUEST | NLM_F_ACK | NLM_F_CREATE, 1, 0},
        .address = {AF_INET, 32, 0, 0, 1},
        .attribute = {8, IFA_LOCAL},
        .value = htonl(0xc0000201),
    };
    char answer[512];
    int fd = socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC, NETLINK_ROUTE);
    if (fd < 0)
        return unclear("socket");
    if (send(fd, &request, sizeof request, 0) < 0)
        return refused();
    if (recv(fd, answer, sizeof answer, 0) < (ssize_t)NLMSG_LENGTH(sizeof(struct nlmsgerr)))
        return unclear("recv");
    errno = -((struct nlmsgerr *)NLMSG_DATA((struct nlmsghdr *)answer))->error;
    return errno ? refused() : reached("a new address");
}

/* Sends bytes that are written in hexadecimal. */
static int send_hex(int fd, const char *text) {
    unsigned int byte;
    for (; sscanf(text, "%2x", &byte) == 1; text += 2)
        if (write(fd, &(unsigned char){byte}, 1) < 0)
            return -1;
    return 0;
}

/*
 * Not an attempt by itself: sends a request to the proxy and tells the first line of the answer,
 * then sends what comes next into the tunnel and tells how that went, and so on.
 */
static int ask_proxy(int argc, char **argv) {
    struct sockaddr_storage address;
    socklen_t length = address_of("127.0.0.1", 3128, &address);
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (connect(fd, (void *)&address, length))
        return unclear("connect to the proxy");
    for (int i = 0; i < argc; i++) {
        char answer[4096] = "";
        if (send_hex(fd, argv[i]))
            return unclear("write");
        ssize_t count = read(fd, answer, sizeof answer - 1);
        if (count > 0 && answer[0] == 'H')
            printf("%.*s\n", (int)strcspn(answer, "\r"), answer);
        else
            printf("%s\n", count > 0 && answer[0] == 0x15 ? "alert" : "closed");
    }
    return 0;
}

/* Not an attempt: connects to the proxy and keeps silent, as often as asked for. */
static int hold_proxy(int argc, char **argv) {
    struct sockaddr_storage address;
    socklen_t length = address_of("127.0.0.1", 3128, &address);
    struct rlimit limit;
    getrlimit(RLIMIT_NOFILE, &limit);
    limit.rlim_cur = limit.rlim_max;
    setrlimit(RLIMIT_NOFILE, &limit);
    for (int count = 0; count < number(argv[0]); count++) {
        int fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
        if (fd < 0)
            return unclear("socket");
        /* What the backlog does not hold stays under way. */
        if (connect(fd, (void *)&address, length) && errno != EINPROGRESS)
            return unclear("connect");
    }
    printf("holding %s\n", argv[0]);
    return 0;
}

static const struct attempt network[] = {
    {"tcp", attempt_tcp},
    {"udp", attempt_udp},
    {"abstract", attempt_abstract},
    {"unix", attempt_unix},
    {"raw", attempt_raw},
    {"packet", attempt_packet},
    {"vsock", attempt_vsock},
    {"crypto", attempt_crypto},
    {"audit", attempt_audit},
    {"add-address", attempt_add_address},
    {"ask-proxy", ask_proxy},
    {"hold-proxy", hold_proxy},
    {NULL, NULL},
};
