#include "fuzz.h"
#include <sys/stat.h>
int main(int argc, char **argv) {
    (void)argc;
    mkdir(argv[1], 0777);
    return 0;
}
