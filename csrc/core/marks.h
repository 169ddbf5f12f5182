/* marks - whether packets are marked ECT(0), so that a router may mark them CE in place of dropping them: RFC
 * 9000 section 13.4.2 and appendix A.4, for one link on one path.
 *
 *     testing ── SRM_MARKS_TEST packets marked ──▶ waiting ── counts that fit, one ECT(0) among them ──▶
 * proved │                                            │                                                   │
 *        └────────── counts missing or wrong, or every mark came as CE ───────▶ failed ◀─────────────────┘
 *
 * While testing and when proved packets are marked. A path that drops what is marked costs the test's
 * packets: their acknowledgement never comes, and probes for them (PTO) go unmarked. Such a path stays
 * waiting. One that takes marks off, or whose peer can't read them, fails; so does one that turns all to CE,
 * which would tell congestion for ever. A new path is tested anew.
 */
#ifndef SRM_MARKS_H
#define SRM_MARKS_H

#include "base.h"
#include "sent.h"

#define SRM_MARKS_TEST 10 /* packets; RFC 9000 appendix A.4 */

typedef struct srm_marks {
    uint64_t base_ect0, base_ce; /* what the peer had reported when the test began */
    uint32_t tested;
    bool proved, failed;
} srm_marks;

/* A new path; `sent` is the link's. */
void srm_marks_start(srm_marks *marks, const srm_sent *sent);
/* Whether packets are marked now. */
bool srm_marks_wanted(const srm_marks *marks, const srm_sent *sent);
/* One left marked. */
void srm_marks_on_sent(srm_marks *marks);
/* What an ACK told; `sent` has taken it in. */
void srm_marks_on_ack(srm_marks *marks, const srm_sent *sent, const srm_sent_event *event);

#endif
