/* What is agreed with an MTA at the start of its connection: stages, replies, actions. */
#ifndef POSTERN_MILTERD_NEGOTIATE_H
#define POSTERN_MILTERD_NEGOTIATE_H

#include <stdint.h>

struct conn;

/*
 * Fills in conn's stages, capabilities and abilities from what the MTA offers, and the bits to ask
 * for.
 *
 * actions, steps          offered: SMFIF_* and SMFIP_* (with the NR bits that libmilter can fake)
 * actions_out, steps_out  to ask for
 *
 * What the filter needs is the last thing learned, or asked for now (at most a second); when nobody
 * knows: every stage with replies. Never fails, since an MTA might pass the mail unfiltered.
 */
void negotiate(struct conn *conn, unsigned long actions, unsigned long steps,
    unsigned long *actions_out, unsigned long *steps_out);

#endif
