#include "marks.h"

void srm_marks_start(srm_marks *marks, const srm_sent *sent) {
    *marks = (srm_marks){.base_ect0 = sent->ecn_ect0, .base_ce = sent->ecn_ce};
}

bool srm_marks_wanted(const srm_marks *marks, const srm_sent *sent) {
    if (marks->failed || marks->proved)
        return marks->proved;
    return marks->tested < SRM_MARKS_TEST && sent->pto_count == 0;
}

void srm_marks_on_sent(srm_marks *marks) {
    if (!marks->proved)
        marks->tested++;
}

void srm_marks_on_ack(srm_marks *marks, const srm_sent *sent, const srm_sent_event *event) {
    uint64_t ect0 = sent->ecn_ect0 - marks->base_ect0, ce = sent->ecn_ce - marks->base_ce;
    marks->failed |= event->ecn_failed || (!marks->proved && ect0 == 0 && ce >= SRM_MARKS_TEST);
    marks->proved = !marks->failed && (marks->proved || ect0 > 0);
}
