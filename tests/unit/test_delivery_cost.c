/* What a piece costs must not depend on how many others wait: four times the work takes about four times the
 * time, in any order of arrival. */
#include "check.h"
#include "inbox.h"
#include "outbox.h"

#include <stdlib.h>
#include <time.h>

#define PLENTY ((uint64_t)1 << 40)

static uint64_t random_next(uint64_t *state) {
    *state ^= *state << 13;
    *state ^= *state >> 7;
    *state ^= *state << 17;
    return *state;
}

typedef enum order { FORWARD, BACKWARD, SHUFFLED, ORDERS } order;
static const char *const order_names[ORDERS] = {"in order", "reversed", "shuffled"};

static uint32_t *places_new(uint32_t count, order how) {
    uint64_t seed = 20250102;
    uint32_t *places = malloc(count * sizeof *places);
    CHECK(places != NULL);
    for (uint32_t i = 0; i < count; i++)
        places[i] = how == BACKWARD ? count - 1 - i : i;
    for (uint32_t i = count; how == SHUFFLED && i > 1; i--) {
        uint32_t other = (uint32_t)(random_next(&seed) % i), here = places[i - 1];
        places[i - 1] = places[other];
        places[other] = here;
    }
    return places;
}

/* ---- The work; each gives the processor time it took, in seconds ---- */

typedef struct job {
    uint32_t count, piece; /* how many, of how many bytes */
    bool one_message;      /* all of them, or each one is */
    const uint32_t *places;
} job;

static uint32_t message_size(const job *j) {
    return j->one_message ? j->piece * j->count : j->piece;
}

static void free_list(srm_message *list) {
    for (srm_message *next; list != NULL; list = next) {
        next = list->next;
        srm_message_free(list);
    }
}

static double inbox_work(const job *j) {
    static const uint8_t bytes[1200];
    srm_inbox inbox;
    srm_inbox_init(&inbox, message_size(j), PLENTY, PLENTY);
    clock_t start = clock();
    for (uint32_t i = 0; i < j->count; i++) {
        srm_fragment_in in = {.number = j->one_message ? 0 : j->places[i],
                              .offset = j->one_message ? j->places[i] * (uint64_t)j->piece : 0,
                              .total = message_size(j),
                              .data = srm_span_of(bytes, j->piece)};
        CHECK(srm_inbox_on_fragment(&inbox, &in) <= SRM_INBOX_COMPLETE);
    }
    uint64_t taken = 0;
    for (srm_message *message; (message = srm_inbox_take(&inbox)) != NULL; taken++) {
        srm_inbox_consumed(&inbox, message, 0, 0);
        srm_message_free(message);
    }
    double time = (double)(clock() - start) / CLOCKS_PER_SEC;
    CHECK_EQ(taken, j->one_message ? 1 : j->count);
    srm_inbox_fini(&inbox);
    return time;
}

static void fill_outbox(srm_outbox *outbox, const job *j) {
    srm_outbox_init(outbox);
    srm_outbox_max_data(outbox, PLENTY);
    for (uint32_t i = 0; i < (j->one_message ? 1 : j->count); i++) {
        srm_message *message = srm_message_new(message_size(j), 0, 0);
        CHECK(message != NULL && srm_outbox_push(outbox, message));
    }
}

static void send_everything(srm_outbox *outbox) {
    uint64_t need;
    for (srm_fragment fragment; srm_outbox_next(outbox, 1220, &fragment);) {
        srm_outbox_sent(outbox, &fragment);
        CHECK(srm_outbox_unacked(outbox) && !srm_outbox_blocked(outbox, &need));
    }
}

/* Everything goes, is lost, goes again, and is acknowledged; lost and acknowledged in the order asked for. */
static double outbox_work(const job *j) {
    srm_outbox outbox;
    srm_message *list;
    fill_outbox(&outbox, j);
    clock_t start = clock();
    send_everything(&outbox);
    for (int acked = 0; acked < 2; acked++) {
        for (uint32_t i = 0; i < j->count; i++) {
            uint64_t number = j->one_message ? 0 : j->places[i];
            uint32_t offset = j->one_message ? j->places[i] * j->piece : 0;
            if (acked)
                srm_outbox_acked(&outbox, 0, number, offset, j->piece);
            else
                srm_outbox_lost(&outbox, 0, number, offset, j->piece);
        }
        send_everything(&outbox);
    }
    CHECK(!srm_outbox_unacked(&outbox));
    CHECK(srm_outbox_consumed(&outbox, 0, j->one_message ? 1 : j->count, &list));
    double time = (double)(clock() - start) / CLOCKS_PER_SEC;
    free_list(list);
    srm_outbox_fini(&outbox);
    return time;
}

/* A new link while all is under way, and a new peer. */
static double relink_work(const job *j) {
    srm_outbox outbox;
    uint64_t resent, unknown;
    fill_outbox(&outbox, j);
    clock_t start = clock();
    for (int i = 0; i < 3; i++) {
        send_everything(&outbox);
        srm_outbox_relink(&outbox);
    }
    srm_outbox_restart(&outbox, &resent, &unknown);
    double time = (double)(clock() - start) / CLOCKS_PER_SEC;
    srm_outbox_fini(&outbox);
    return time;
}

/* ---- Measuring ---- */

typedef double (*work)(const job *j);

static double best_of(work run, job j, order how) {
    uint32_t *places = places_new(j.count, how);
    double best = 1e9;
    j.places = places;
    for (int i = 0; i < 5; i++) {
        double time = run(&j);
        best = time < best ? time : best;
    }
    free(places);
    return best;
}

#define CHEAP 1e-6 /* seconds for one of 20,000: a search through all of them would take far more */

/* Linear is 4, quadratic 16; caches account for some, the more of them others use: what is cheap all the same
 * is no search. A machine shared with others measures badly now and then: one good measurement of several is
 * enough. */
static void check_growth(const char *what, work run, order how, job j) {
    double ratio = 0, more = 0;
    job quarter = j;
    quarter.count /= 4;
    for (int attempt = 0; attempt < 8; attempt++) {
        more = best_of(run, j, how);
        ratio = more / (best_of(run, quarter, how) + 1e-6);
        if (ratio < 8 || more < CHEAP * j.count)
            break;
    }
    printf("cost: %s, %u of %u bytes %s: %.0f ns each, %.2f times a quarter of them\n", what,
           (unsigned)j.count, (unsigned)j.piece, order_names[how], more * 1e9 / j.count, ratio);
    CHECK(ratio < 8 || more < CHEAP * j.count);
}

/* The runs of one message lie in an array, bounded in length: moving it may cost some microseconds and no
 * more. */
static void check_price(const char *what, work run, order how, job j) {
    double each = best_of(run, j, how) * 1e9 / j.count;
    printf("cost: %s, %u of %u bytes %s: %.0f ns each\n", what, (unsigned)j.count, (unsigned)j.piece,
           order_names[how], each);
    CHECK(each < 20000);
}

#define MESSAGES ((job){.count = 20000, .piece = 100})
#define LARGE ((job){.count = (16 << 20) / 1200, .piece = 1200, .one_message = true})
#define CRUMBS                                                                                               \
    ((job){.count = 16384, .piece = 64, .one_message = true}) /* little to copy: what is left is ours */

TEST(messages_that_wait_at_the_receiver) {
    for (order how = FORWARD; how < ORDERS; how++)
        check_growth("inbox, messages", inbox_work, how, MESSAGES);
}

TEST(messages_that_wait_at_the_sender) {
    for (order how = FORWARD; how < ORDERS; how++)
        check_growth("outbox, messages", outbox_work, how, MESSAGES);
}

TEST(a_large_message_at_the_receiver) {
    check_growth("inbox, one message", inbox_work, FORWARD, CRUMBS);
    check_growth("inbox, one message", inbox_work, BACKWARD, CRUMBS);
    for (order how = FORWARD; how < ORDERS; how++)
        check_price("inbox, one message", inbox_work, how, LARGE);
}

TEST(a_large_message_at_the_sender) {
    check_growth("outbox, one message", outbox_work, FORWARD, LARGE);
    check_growth("outbox, one message", outbox_work, BACKWARD, LARGE);
    check_price("outbox, one message", outbox_work, SHUFFLED, LARGE);
}

TEST(a_new_link_under_full_load) {
    check_growth("relink, messages", relink_work, FORWARD, MESSAGES);
    check_growth("relink, one message", relink_work, FORWARD, LARGE);
}

int main(int argc, char **argv) {
    return check_main(argc, argv);
}
