#include "ctl/terminal.h"

#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/signalfd.h>
#include <unistd.h>

#include "common/err.h"

enum { ROWS_DEFAULT = 24, COLUMNS_DEFAULT = 80, SIZE_MAX_SANE = 1000 };

/* Other screen, no cursor; and back. */
#define SCREEN_BEGIN "\033[?1049h\033[?25l\033[2J"
#define SCREEN_END   "\033[?25h\033[?1049l"

static void own_signals(sigset_t *out)
{
    static const int numbers[] = {SIGWINCH, SIGINT, SIGTERM, SIGHUP};
    sigemptyset(out);
    for (size_t i = 0; i < sizeof(numbers) / sizeof(numbers[0]); i++) {
        sigaddset(out, numbers[i]);
    }
}

int terminal_write(struct slice text)
{
    while (text.len > 0) {
        ssize_t n = write(STDOUT_FILENO, text.data, text.len);
        if (n < 0 && errno != EINTR) {
            return -ERR_SYSTEM;
        }
        size_t done = n > 0 ? (size_t)n : 0;
        text = slice_of((const char *)text.data + done, text.len - done);
    }
    return 0;
}

int terminal_open(struct terminal *terminal)
{
    if (!isatty(STDIN_FILENO) || !isatty(STDOUT_FILENO) ||
        tcgetattr(STDIN_FILENO, &terminal->before) != 0) {
        return -ERR_BAD;
    }
    sigset_t signals;
    own_signals(&signals);
    terminal->signal_fd = signalfd(-1, &signals, SFD_CLOEXEC | SFD_NONBLOCK);
    if (terminal->signal_fd < 0) {
        return -ERR_SYSTEM;
    }
    sigprocmask(SIG_BLOCK, &signals, NULL);
    struct termios raw = terminal->before;
    raw.c_lflag &= ~(tcflag_t)(ICANON | ECHO);
    raw.c_cc[VMIN] = 1;
    raw.c_cc[VTIME] = 0;
    raw.c_cc[VSUSP] = _POSIX_VDISABLE; /* stopped, the terminal would stay as we made it */
    if (tcsetattr(STDIN_FILENO, TCSANOW, &raw) != 0 ||
        terminal_write(slice_text(SCREEN_BEGIN)) != 0) {
        terminal_close(terminal);
        return -ERR_SYSTEM;
    }
    return 0;
}

void terminal_close(struct terminal *terminal)
{
    sigset_t signals;
    own_signals(&signals);
    (void)terminal_write(slice_text(SCREEN_END));
    /* Not after draining: nobody may read what we wrote. */
    (void)tcsetattr(STDIN_FILENO, TCSANOW, &terminal->before);
    (void)tcflush(STDIN_FILENO, TCIFLUSH);
    close(terminal->signal_fd);
    sigprocmask(SIG_UNBLOCK, &signals, NULL);
}

void terminal_size(int *rows_out, int *columns_out)
{
    struct winsize size = {0};
    if (ioctl(STDOUT_FILENO, TIOCGWINSZ, &size) != 0 || size.ws_row == 0 || size.ws_col == 0) {
        size = (struct winsize){.ws_row = ROWS_DEFAULT, .ws_col = COLUMNS_DEFAULT};
    }
    *rows_out = size.ws_row < SIZE_MAX_SANE ? size.ws_row : SIZE_MAX_SANE;
    *columns_out = size.ws_col < SIZE_MAX_SANE ? size.ws_col : SIZE_MAX_SANE;
}

static int take_signal(struct terminal *terminal)
{
    struct signalfd_siginfo info;
    if (read(terminal->signal_fd, &info, sizeof(info)) != (ssize_t)sizeof(info)) {
        return TERMINAL_UNKNOWN;
    }
    return info.ssi_signo == SIGWINCH ? TERMINAL_RESIZED : TERMINAL_END;
}

static int take_key(void)
{
    unsigned char bytes[16];
    ssize_t n = read(STDIN_FILENO, bytes, sizeof(bytes));
    if (n <= 0) {
        return n < 0 && (errno == EINTR || errno == EAGAIN) ? TERMINAL_UNKNOWN : TERMINAL_END;
    }
    if (n == 3 && bytes[0] == '\033' && (bytes[1] == '[' || bytes[1] == 'O')) {
        return bytes[2] == 'C'   ? TERMINAL_RIGHT
               : bytes[2] == 'D' ? TERMINAL_LEFT
                                 : TERMINAL_UNKNOWN;
    }
    return bytes[0] >= ' ' ? bytes[0] : TERMINAL_UNKNOWN;
}

int terminal_wait(struct terminal *terminal, int timeout_ms)
{
    struct pollfd pfds[] = {
        {.fd = STDIN_FILENO, .events = POLLIN}, {.fd = terminal->signal_fd, .events = POLLIN}};
    int n = poll(pfds, 2, timeout_ms);
    if (n < 0) {
        return errno == EINTR ? TERMINAL_UNKNOWN : TERMINAL_END;
    }
    if (n == 0) {
        return TERMINAL_NOTHING;
    }
    return pfds[1].revents != 0 ? take_signal(terminal) : take_key();
}
