/* systemd's units of Postern, with their drop-ins: what the service manager gives the daemons. */
#ifndef POSTERN_CTL_DOCTOR_UNITS_H
#define POSTERN_CTL_DOCTOR_UNITS_H

#include <stdbool.h>

struct doctor;
struct units;

enum unit { UNIT_MILTERD = 0, UNIT_MULTIPLEXOR, UNIT_SOCKET, UNIT_COUNT };

/* Reads the units of --units, else the system's; doctor->units stays NULL when there is none. With
 * milterd.socket = fd:N the socket unit says where that is. */
void units_look(struct doctor *doctor);
void units_free(struct units *units);

/* Whether the unit is there. */
bool units_has(const struct units *units, enum unit unit);
/* Whether the socket unit is started with the system. */
bool units_is_enabled(const struct units *units, enum unit unit);
const char *units_name(enum unit unit);
/*
 * The values of a setting ("User"), in order, joined by blanks; an empty assignment drops those
 * before, as systemd has it. Borrowed; NULL when it is not set, or units is NULL.
 */
const char *units_get(const struct units *units, enum unit unit, const char *key);

#endif
