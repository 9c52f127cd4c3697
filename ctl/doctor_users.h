/* Which users the daemons run as, as far as it can be known. */
#ifndef POSTERN_CTL_DOCTOR_USERS_H
#define POSTERN_CTL_DOCTOR_USERS_H

#include "ctl/doctor.h"
#include "ctl/doctor_access.h"

enum users_daemon { USERS_MILTERD = 0, USERS_MULTIPLEXOR };

/* The user of the configuration, else the service unit's, else that of the running multiplexor,
 * else our own. */
void users_of(const struct doctor *doctor, enum users_daemon daemon, struct access_user *out);

#endif
