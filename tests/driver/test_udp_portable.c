/* The same tests of the code for systems that aren't Linux, whose calls Linux has too. It is compiled in here
 * and takes the place of what the library has. */
#define SRM_UDP_PORTABLE 1
#include "udp.c"
#include "udp_posix.c"

#include "test_udp.c"
