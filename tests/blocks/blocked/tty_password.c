#include <fcntl.h>
#include <stdio.h>
#include <termios.h>
#include <unistd.h>
int main(void) {
    int tty = open("/dev/tty", O_RDWR);
    struct termios settings;
    tcgetattr(tty, &settings);
    settings.c_lflag &= ~ECHO;
    tcsetattr(tty, TCSANOW, &settings);
    dprintf(tty, "Enter passphrase for key: ");
    fclose(fopen("blocking", "w"));
    char answer[64];
    return read(tty, answer, sizeof answer) > 0;
}
