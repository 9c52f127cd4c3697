/*
 * Processes that descend from us: nurseries, workers, and the programs that a filter starts. They run as our user, so a socket's mode and the peer's uid
 * do not keep them from our own sockets; that they are our children does.
 */
#ifndef POSTERN_MULTIPLEXOR_KIN_H
#define POSTERN_MULTIPLEXOR_KIN_H

#include <stdbool.h>

/* Orphans among them become our children, and so cannot hide by losing their parent. Whatever fails leaves it at children that keep theirs. */
void kin_adopt(void);
/*
 * Whether the peer of a connected UNIX socket descends from us. One that has our uid and is gone already counts as such: what it has sent may be a
 * worker's, and nobody is there for the answer.
 */
bool kin_is_peer(int fd);

#endif
