// SPDX-License-Identifier: (GPL-2.0-only OR MIT)
//
// Interleaves the steps of the row protocol (bpf/PROTOCOL.md). bpf/table.bpf.h is compiled for user space over a
// simulated hash table; hooks, the sweep, the drain and the reader are coroutines, and a seeded generator chooses
// at every YIELD() who runs next and how far the clock moves. When all has come to rest, what the reader was told
// is compared with what happened.
//
//   protocol-interleave [--seed N] [--runs M] [--stop-at-first]
//
// prints one line of JSON; exit 1 on a violation. Run k has the seed N + k.
//
// -DMUTATE_... breaks one rule each: a test that cannot fail proves nothing.
#define _GNU_SOURCE
#include <linux/types.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <ucontext.h>

#ifndef __always_inline
#define __always_inline inline __attribute__((always_inline))
#endif
#define barrier() __asm__ volatile("" ::: "memory")
#define typeof __typeof__

#if defined(MUTATE_NO_LOOKUP_BEFORE) || defined(MUTATE_NO_LOOKUP_AFTER) || defined(MUTATE_NO_RECHECK) ||     \
    defined(MUTATE_CHECK_BEFORE_CLAIM) || defined(MUTATE_ONLY_DESTROYED_CHECKED) ||                          \
    defined(MUTATE_OLDER_VERSION_SENT) || defined(MUTATE_SENT_IS_NEWEST)
#define MUTATE_CLAIM
#endif
#if defined(MUTATE_NO_PARK) || defined(MUTATE_NO_TOMBSTONE) || defined(MUTATE_SENT_READ_FIRST) ||            \
    defined(MUTATE_UNSENT_NOT_PARKED)
#define MUTATE_END
#endif

// Mutants below take the place of the functions of these names.
#ifdef MUTATE_NO_SETTLE
#define SETTLE_NS 0ULL
#endif
#define row_claim table_row_claim
#define row_unclaim table_row_unclaim
#define row_end table_row_end
#define row_end_stale table_row_end_stale
#define YIELD() yield()

static void yield(void);
static __u64 table_now(void);
static void table_count(__u32 counter);
static void table_has_news(__u32 which);
static void table_full_barrier(const __u64 *word);
static __u64 *table_sweep_fence(void);

struct socket_identity;
struct socket_row;
static long table_park_ended(const struct socket_identity *identity, const struct socket_row *row);
static long table_delete(__u64 sk);

#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wunused-function"
#include "../../bpf/table.bpf.h"
#pragma GCC diagnostic pop

#undef row_claim
#undef row_unclaim
#undef row_end
#undef row_end_stale

#define SETTLED_NS 1000000ULL // what the protocol promises, whatever a mutant makes of SETTLE_NS
#define MIN_AGE_NS (20 * SETTLED_NS)

#define ADDRESSES 3
#define OWNERS 3
#define ROW_ELEMENTS (ADDRESSES + 1)
#define ENDED_ELEMENTS 24
#define MOST_LIVES 24
#define MOST_RECORDS 512
#define STACK_BYTES (32 << 10)

#define STATE_ESTABLISHED 1
#define STATE_SYN_SENT 2
#define NO_MEMORY (-12L)
#define BUSY (-16L)
#define EXISTS (-17L)
#define NO_ENTRY (-2L)

// ---- chance

static uint64_t chance_state;

static uint64_t chance(void) {
  uint64_t x = (chance_state += 0x9e3779b97f4a7c15ULL);
  x = (x ^ (x >> 30)) * 0xbf58476d1ce4e5b9ULL;
  x = (x ^ (x >> 27)) * 0x94d049bb133111ebULL;
  return x ^ (x >> 31);
}

static unsigned below(unsigned limit) {
  return (unsigned)((chance() >> 32) * limit >> 32);
}

static bool one_in(unsigned n) {
  return n != 0 && below(n) == 0;
}

// ---- what a run is like, and what is counted over all runs

static struct {
  // Bounded: clock readings may be equal and stores may become visible out of order, but a hook is done before the
  // settle time. Not bounded: a hook may stall for any time at any step, as one whose CPU is taken away.
  bool bounded;
  unsigned owners;
  unsigned most_changes; // of one socket
  unsigned longest_pause;
  bool clock_is_fast;
  unsigned longest_sweep_pause;
  unsigned switch_one_in;
  unsigned freeze_one_in;
  unsigned held_up_one_in;
  unsigned insert_fails_one_in;
  unsigned park_fails_one_in;
  unsigned delete_fails_one_in;
  unsigned emission_fails_one_in;
  unsigned destroy_missed_one_in;
} run;

static struct {
  uint64_t claims, abortedCopies, failedEmissions, destroyedAfterClaim, reuseDuringCopy, parks, tombstones;
  uint64_t staleReplaced, insertFailures, deleteFailures, heldAtExit, heldAtExitUnsent, liveSent, endsSent,
      earlySends;
  uint64_t lostAndCounted;
} covered;

static char violation[512];

#define VIOLATED(...)                                                                                        \
  do {                                                                                                       \
    if (!violation[0])                                                                                       \
      snprintf(violation, sizeof(violation), __VA_ARGS__);                                                   \
  } while (0)

// ---- what happened: one life is one socket from open to destroy

struct life {
  __u64 sk, birth_ns;
  struct socket_row facts; // by hooks that are done
  bool tracked;            // its row went into the table
  bool told;               // a row was given to the reader before its end
  bool destroy_begun;      // the kernel has destroyed it
  bool end_lost;           // by two refusals of the ended table in turn: counted as loss
  bool stray_claim;        // a claim of another socket wrote into its row
};

static struct life lives[MOST_LIVES];
static unsigned life_count;

static struct life *life_of(__u64 sk, __u64 birth_ns) {
  for (unsigned i = 0; i < life_count; i++)
    if (lives[i].sk == sk && lives[i].birth_ns == birth_ns)
      return &lives[i];
  return NULL;
}

static bool same_facts(const struct socket_row *a, const struct socket_row *b) {
  return a->state == b->state && a->local_port == b->local_port && a->bind_errno == b->bind_errno &&
         a->connect_errno == b->connect_errno && a->socket_errno == b->socket_errno &&
         a->ever_bound == b->ever_bound && a->ever_connecting == b->ever_connecting &&
         a->ever_established == b->ever_established && a->released == b->released &&
         a->release_state == b->release_state && a->held_at_exit == b->held_at_exit;
}

// ---- coroutines and the clock

enum actor_name {
  OWNER_FIRST,
  OTHER_CPU = OWNER_FIRST + OWNERS,
  DESTROYER,
  SWEEPER,
  DRAINER,
  READER,
  ACTORS
};

struct actor {
  ucontext_t context;
  bool runnable;
  uint64_t frozen_until; // in steps
  __u64 deadline_ns;     // the clock does not pass it before this actor is done with its step; 0 for none
};

static struct actor actors[ACTORS];
static char stacks[ACTORS][STACK_BYTES] __attribute__((aligned(64)));
static ucontext_t at_rest_context;
static int current = -1; // -1: at rest, nothing is interleaved
static uint64_t steps;
static __u64 clock_ns;
static bool hooks_done;

static void (*after_copy)(void); // tears the copy that the sweep has just made

static void advance_clock(void) {
  static const unsigned none = 1, small = 64;
  __u64 next = clock_ns;
  unsigned pick = below(run.clock_is_fast ? 80 : 64);
  if (pick < 48)
    next += run.bounded ? (one_in(4) ? below(small) : none - 1) : below(small);
  else if (pick < 56)
    next += below(SETTLED_NS / 3);
  else if (pick < 61)
    next += below(2 * SETTLED_NS);
  else
    next += below(MIN_AGE_NS * 2 / 3);
  for (int i = 0; i < ACTORS; i++)
    if (actors[i].deadline_ns && next >= actors[i].deadline_ns)
      next = actors[i].deadline_ns - 1;
  if (next > clock_ns)
    clock_ns = next;
}

static int next_actor(void) {
  int candidates[ACTORS], count = 0;
  for (int i = 0; i < ACTORS; i++)
    if (actors[i].runnable && actors[i].frozen_until <= steps)
      candidates[count++] = i;
  if (count == 0) {
    for (int i = 0; i < ACTORS; i++) {
      actors[i].frozen_until = 0;
      if (actors[i].runnable)
        candidates[count++] = i;
    }
  }
  return count ? candidates[below(count)] : -1;
}

static void switch_away(void) {
  int self = current, next = next_actor();
  if (next == self)
    return;
  current = next;
  swapcontext(&actors[self].context, next < 0 ? &at_rest_context : &actors[next].context);
}

// When no hook will run any more, the others finish what they do.
static void look_for_rest(void) {
  for (int i = 0; i <= DESTROYER; i++)
    if (actors[i].runnable)
      return;
  hooks_done = true;
  actors[READER].runnable = true;
}

static void yield(void) {
  if (current < 0)
    return;
  steps++;
  advance_clock();
  look_for_rest();
  // Deep races need one actor to stand still while the others do much.
  if (one_in(run.freeze_one_in))
    actors[current].frozen_until = steps + 1 + below(120);
  else if (!one_in(run.switch_one_in))
    goto stay;
  switch_away();
stay:
  if (after_copy && current == SWEEPER)
    after_copy();
}

static void sleep_steps(unsigned count) {
  if (current < 0)
    return;
  steps++;
  actors[current].frozen_until = steps + count;
  advance_clock();
  look_for_rest();
  switch_away();
}

// Until somebody calls wake().
static void block(void) {
  actors[current].runnable = false;
  switch_away();
}

static void wake(int actor) {
  actors[actor].runnable = true;
}

static void finish(void) {
  actors[current].deadline_ns = 0;
  for (;;)
    block();
}

// ---- the primitives that table.bpf.h stands on

struct row_element {
  __u64 key;
  struct socket_row row;
  bool linked;
  unsigned generation; // counts the sockets that it has belonged to
};

struct ended_element {
  struct socket_identity key;
  struct socket_row row;
  bool linked;
};

static struct row_element rows[ROW_ELEMENTS];
static struct ended_element ended[ENDED_ELEMENTS];
// Last in, first out: a deleted element is the next one to be used, as in the kernel.
static unsigned free_rows[ROW_ELEMENTS], free_row_count, free_ended[ENDED_ELEMENTS], free_ended_count;
static __u64 sweep_fence_word;
static bool claim_is_made; // by the sweep, in the element that it looks at

static __u64 table_now(void) {
  __u64 now;
  if (run.bounded || current < 0)
    return clock_ns;
  now = ++clock_ns;
  // Between its clock and its store is the worst place for a hook to be held up.
  if (current <= OTHER_CPU && one_in(run.held_up_one_in))
    sleep_steps(1 + below(250));
  return now;
}

static void table_count(__u32 counter) {
  if (counter == COUNTER_LOSS_SOCKET_DELETE)
    covered.deleteFailures++;
  if (counter == COUNTER_STALE_ROW_REPLACED)
    covered.staleReplaced++;
}

// Nobody is spared a walk here.
static void table_has_news(__u32 which) {
  (void)which;
}

// The simulation is sequentially consistent: the order of stores and loads is what counts here.
static void table_full_barrier(const __u64 *word) {
  claim_is_made |= word == &sweep_fence_word;
  barrier();
}

static __u64 *table_sweep_fence(void) {
  return &sweep_fence_word;
}

// A value is copied into its element word by word, from either end, and others may see it half done.
static void copy_slowly(void *to, const void *from, size_t bytes) {
  size_t words = bytes / sizeof(__u64);
  bool forward = one_in(2);
  size_t held_up_at = one_in(run.held_up_one_in) ? below((unsigned)words) : words;
  for (size_t i = 0; i < words; i++) {
    size_t at = forward ? i : words - 1 - i;
    ((volatile __u64 *)to)[at] = ((const __u64 *)from)[at];
    if (i == held_up_at)
      sleep_steps(1 + below(120));
    else if (at < 3 || at == words / 2)
      yield();
  }
}

static struct row_element *element_at(__u64 sk) {
  for (unsigned i = 0; i < ROW_ELEMENTS; i++)
    if (rows[i].linked && rows[i].key == sk)
      return &rows[i];
  return NULL;
}

static struct socket_row *table_lookup(__u64 sk) {
  struct row_element *element = element_at(sk);
  return element ? &element->row : NULL;
}

static long table_insert(__u64 sk, const struct socket_row *row) {
  struct row_element *element;
  if (element_at(sk))
    return EXISTS;
  if (free_row_count == 0 || one_in(run.insert_fails_one_in)) {
    covered.insertFailures++;
    return NO_MEMORY;
  }
  element = &rows[free_rows[--free_row_count]];
  element->generation++;
  element->key = sk;
  yield();
  copy_slowly(&element->row, row, sizeof(*row));
  element->linked = true;
  yield();
  return 0;
}

static long table_delete(__u64 sk) {
  struct row_element *element = element_at(sk);
  if (!element)
    return NO_ENTRY;
  if (one_in(run.delete_fails_one_in))
    return BUSY;
  element->linked = false;
  free_rows[free_row_count++] = (unsigned)(element - rows);
  return 0;
}

static bool same_identity(const struct socket_identity *a, const struct socket_identity *b) {
  return a->sk == b->sk && a->birth_ns == b->birth_ns;
}

static struct ended_element *ended_at(const struct socket_identity *identity) {
  for (unsigned i = 0; i < ENDED_ELEMENTS; i++)
    if (ended[i].linked && same_identity(&ended[i].key, identity))
      return &ended[i];
  return NULL;
}

static void free_ended_element(struct ended_element *element) {
  element->linked = false;
  free_ended[free_ended_count++] = (unsigned)(element - ended);
}

static long table_park_ended(const struct socket_identity *identity, const struct socket_row *row) {
  struct life *life = life_of(identity->sk, identity->birth_ns);
  struct ended_element *element, *older;
  if (free_ended_count == 0 || one_in(run.park_fails_one_in)) {
    bool ends_stale = current != DESTROYER; // then there is no row left to be a tombstone
    covered.tombstones += !ends_stale;
    if (ends_stale && life) {
      life->end_lost = true;
      covered.lostAndCounted++;
    }
    return NO_MEMORY;
  }
  covered.parks++;
  element = &ended[free_ended[--free_ended_count]];
  element->key = *identity;
  yield();
  copy_slowly(&element->row, row, sizeof(*row));
  // BPF_ANY: a new element takes the place of an older one with the same key.
  older = ended_at(identity);
  element->linked = true;
  if (older)
    free_ended_element(older);
  yield();
  return 0;
}

// ---- the functions of the protocol, or their mutants

static bool row_claim(__u64 sk, struct socket_row *row, struct socket_record *record, __u64 now,
                      __u64 min_age_ns, __u64 *previous) {
#ifdef MUTATE_CLAIM
  __u64 version = READ_ONCE(row->version_ns), sent;
  yield();
  if (!row_is_due(row, version, now, min_age_ns))
    return false;
  yield();
#ifndef MUTATE_NO_LOOKUP_BEFORE
  if (table_lookup(sk) != row)
    return false;
#endif
  yield();
  *previous = row->sent_ns;
  record->sk = sk;
  record->row = *row;
  yield();
#ifndef MUTATE_NO_LOOKUP_AFTER
  if (table_lookup(sk) != row)
    return false;
#endif
#ifdef MUTATE_CHECK_BEFORE_CLAIM
  yield();
  if (READ_ONCE(row->version_ns) != version)
    return false;
#endif
  sent = version > *previous ? version : *previous + 1;
#ifdef MUTATE_OLDER_VERSION_SENT
  sent = version;
#endif
  record->row.version_ns = sent;
  yield();
#ifdef MUTATE_SENT_IS_NEWEST
  sent = READ_ONCE(row->version_ns);
#endif
  WRITE_ONCE(row->sent_ns, sent);
  table_full_barrier(table_sweep_fence());
  yield();
#ifdef MUTATE_ONLY_DESTROYED_CHECKED
  record->row.destroyed = READ_ONCE(row->destroyed);
#elif !defined(MUTATE_NO_RECHECK) && !defined(MUTATE_CHECK_BEFORE_CLAIM) && !defined(MUTATE_SENT_IS_NEWEST)
  if (READ_ONCE(row->version_ns) != version) {
    table_row_unclaim(row, *previous);
    return false;
  }
#endif
  return true;
#else
  return table_row_claim(sk, row, record, now, min_age_ns, previous);
#endif
}

static void row_unclaim(struct socket_row *row, __u64 previous) {
#ifdef MUTATE_NO_UNCLAIM
  (void)row;
  (void)previous;
#else
  table_row_unclaim(row, previous);
#endif
}

static void row_end(__u64 sk, struct socket_row *row) {
#ifdef MUTATE_END
  struct socket_identity identity = {.sk = sk, .birth_ns = row->birth_ns};
  __u64 sent = READ_ONCE(row->sent_ns);
  if (READ_ONCE(row->destroyed))
    return;
#ifdef MUTATE_SENT_READ_FIRST
  yield();
#endif
  WRITE_ONCE(row->destroyed, 1);
  yield();
  barrier();
  WRITE_ONCE(row->version_ns, READ_ONCE(row->version_ns) + 1);
  table_full_barrier(&row->fence);
  yield();
#ifndef MUTATE_SENT_READ_FIRST
  sent = READ_ONCE(row->sent_ns);
#endif
#ifndef MUTATE_UNSENT_NOT_PARKED
  sent |= row->held_at_exit;
#endif
#ifdef MUTATE_NO_PARK
  sent = 0;
#endif
  if (sent) {
    row_changed(row);
    if (table_park_ended(&identity, row)) {
#ifndef MUTATE_NO_TOMBSTONE
      return;
#endif
    }
  }
  yield();
  if (table_delete(sk))
    table_count(COUNTER_LOSS_SOCKET_DELETE);
#else
  table_row_end(sk, row);
#endif
}

static void row_end_stale(__u64 sk, struct socket_row *row) {
#ifdef MUTATE_STALE_NOT_ENDED
  (void)row;
  table_delete(sk);
#else
  table_row_end_stale(sk, row);
#endif
}

// ---- hooks

// The sockets that the kernel has at its addresses: an address is free again when the destroy hooks are through.
static struct life *at_address[ADDRESSES], being_opened;
static unsigned destroyed_queue[MOST_LIVES], destroyed_head, destroyed_tail;

static struct {
  struct life *life; // of the socket whose state changes on the other CPU; NULL for idle
  int waiting;       // the owner that waits for the end of it; -1 for none
} other_cpu;

static __u64 address_of(unsigned index) {
  return 0xffff888000000000ULL + (index + 1ULL) * 0x1000;
}

static unsigned index_of(__u64 sk) {
  return (unsigned)((sk - 0xffff888000000000ULL) / 0x1000) - 1;
}

static void hook_begins(__u64 limit_ns) {
  if (current >= 0)
    actors[current].deadline_ns = clock_ns + limit_ns;
}

static void hook_ends(void) {
  if (current >= 0)
    actors[current].deadline_ns = 0;
}

static bool version_comes_first(void) {
#ifdef MUTATE_VERSION_FIRST
  return true;
#else
  return run.bounded && one_in(2); // the store of the facts is late, but not by the settle time
#endif
}

// One change of the facts of the system calls.
static void change_bind(struct life *life, struct socket_row *row) {
  __u16 port = (__u16)(1 + below(60000)), error = (__u16)below(3);
  bool early = version_comes_first();
  if (run.bounded)
    hook_begins(SETTLED_NS / 2);
  if (early)
    row_changed(row);
  yield();
  WRITE_ONCE(row->local_port, port);
  yield();
  WRITE_ONCE(row->bind_errno, error);
  yield();
  WRITE_ONCE(row->ever_bound, 1);
  if (!early)
    row_changed(row);
  hook_ends();
  life->facts.local_port = port;
  life->facts.bind_errno = error;
  life->facts.ever_bound = 1;
}

// One change of the facts of the state tracepoint.
static void change_state(struct life *life, struct socket_row *row) {
  static const __u8 states[] = {STATE_CLOSE, STATE_CLOSE, STATE_CLOSE_WAIT, STATE_ESTABLISHED,
                                STATE_SYN_SENT};
  __u8 state = states[below(sizeof(states))];
  __u16 error = (__u16)(1 + below(100));
  bool early = version_comes_first();
  if (run.bounded)
    hook_begins(SETTLED_NS / 2);
  if (early)
    row_changed(row);
  yield();
  WRITE_ONCE(row->state, state);
  yield();
  if (state == STATE_CLOSE)
    WRITE_ONCE(row->connect_errno, error);
  else if (state == STATE_CLOSE_WAIT)
    WRITE_ONCE(row->socket_errno, error);
  else if (state == STATE_SYN_SENT)
    WRITE_ONCE(row->ever_connecting, 1);
  else
    WRITE_ONCE(row->ever_established, 1);
  if (!early)
    row_changed(row);
  hook_ends();
  life->facts.state = state;
  if (state == STATE_CLOSE)
    life->facts.connect_errno = error;
  else if (state == STATE_CLOSE_WAIT)
    life->facts.socket_errno = error;
  else if (state == STATE_SYN_SENT)
    life->facts.ever_connecting = 1;
  else
    life->facts.ever_established = 1;
}

static void release(struct life *life, struct socket_row *row) {
  bool held_at_exit = one_in(3) && state_is_wasteful(row->state);
  if (run.bounded)
    hook_begins(SETTLED_NS / 2);
  yield();
  life->facts.release_state = row->state;
  life->facts.held_at_exit = held_at_exit;
  life->facts.released = 1;
  WRITE_ONCE(row->release_state, row->state);
  yield();
  WRITE_ONCE(row->released, 1);
  yield();
  // Last: a row that says so is an end to the reader, which takes no facts after it.
  WRITE_ONCE(row->held_at_exit, held_at_exit);
  row_changed(row);
  hook_ends();
  covered.heldAtExit += held_at_exit;
}

// The open hook runs for every process; only a traced one's socket gets a row.
static struct life *open_socket(__u64 sk, bool traced) {
  struct socket_row *stale = table_lookup(sk), row = {0};
  struct life *life;
  if (stale)
    row_end_stale(sk, stale);
  if (!traced || life_count == MOST_LIVES)
    return NULL;
  yield();
  clock_ns++; // identities differ: a free and an allocation take longer than the clock's resolution
  hook_begins(MIN_AGE_NS);
  life = &lives[life_count++];
  *life = (struct life){.sk = sk};
  row.birth_ns = row.version_ns = table_now();
  row.state = STATE_CLOSE;
  life->birth_ns = row.birth_ns;
  life->facts = row;
  yield();
  life->tracked = table_insert(sk, &row) == 0;
  hook_ends();
  return life;
}

static void destroy_socket(struct life *life) {
  unsigned index = index_of(life->sk);
  struct socket_row *row;
  life->destroy_begun = true;
  if (life->tracked) {
    if (!one_in(run.destroy_missed_one_in)) {
      row = table_lookup(life->sk);
      if (row && !row->destroyed) {
        if (run.bounded)
          hook_begins(SETTLED_NS / 2);
        row_end(life->sk, row);
        hook_ends();
      }
      // The second program for the same fact.
      row = table_lookup(life->sk);
      if (row && !row->destroyed)
        VIOLATED("a row is left undestroyed by its destroy");
    }
  }
  at_address[index] = NULL;
}

static void owner_main(void) {
  unsigned sockets = 1 + below(5);
  while (sockets--) {
    unsigned index = below(ADDRESSES), changes;
    struct life *life;
    struct socket_row *row;
    if (at_address[index]) {
      sleep_steps(1 + below(60));
      continue;
    }
    at_address[index] = &being_opened;
    life = open_socket(address_of(index), !one_in(8));
    at_address[index] = life;
    if (!life)
      continue;
    changes = life->tracked ? below(run.most_changes) : 0;
    while (changes--) {
      if (one_in(3))
        sleep_steps(1 + below(run.longest_pause));
      row = table_lookup(life->sk);
      if (!other_cpu.life && one_in(2)) {
        other_cpu.life = life;
        wake(OTHER_CPU);
        if (one_in(4))
          continue;
      }
      if (one_in(3) && other_cpu.life != life)
        change_state(life, row);
      else
        change_bind(life, row);
    }
    if (one_in(3))
      sleep_steps(1 + below(150));
    // The kernel does not release a socket while a softirq works on it.
    while (other_cpu.life == life) {
      other_cpu.waiting = current;
      block();
    }
    if (one_in(5))
      continue; // leaked: it lives on
    // Not every hook set sees every release.
    if (life->tracked && !one_in(4))
      release(life, table_lookup(life->sk));
    if (one_in(3))
      sleep_steps(1 + below(60));
    destroyed_queue[destroyed_tail++] = (unsigned)(life - lives);
    wake(DESTROYER);
    if (one_in(2))
      sleep_steps(1 + below(60));
  }
  finish();
}

static void other_cpu_main(void) {
  for (;;) {
    while (!other_cpu.life)
      block();
    change_state(other_cpu.life, table_lookup(other_cpu.life->sk));
    other_cpu.life = NULL;
    if (other_cpu.waiting >= 0)
      wake(other_cpu.waiting);
    other_cpu.waiting = -1;
  }
}

static void destroyer_main(void) {
  for (;;) {
    while (destroyed_head == destroyed_tail)
      block();
    destroy_socket(&lives[destroyed_queue[destroyed_head++]]);
  }
}

// ---- the iterators and the reader

struct stream {
  struct socket_record records[MOST_RECORDS];
  unsigned head, tail;
};

static struct stream swept, drained;

static bool emit(struct stream *stream, const struct socket_record *record) {
  if ((current >= 0 && one_in(run.emission_fails_one_in)) || stream->tail == MOST_RECORDS) {
    covered.failedEmissions++;
    return false;
  }
  stream->records[stream->tail++] = *record;
  wake(READER);
  return true;
}

static struct {
  struct socket_record *record;
  const struct socket_row *row;
} copying;

// The words of a copy are read one after the other: some of them may be from later than the others.
static void tear_copy(void) {
  __u64 *to = (__u64 *)&copying.record->row;
  if (copying.record->sk == 0)
    return;
  after_copy = NULL;
  for (size_t i = 0; i < sizeof(*copying.row) / sizeof(__u64); i++)
    if (one_in(2))
      to[i] = ((const volatile __u64 *)copying.row)[i];
}

// What a claim left in the row of another socket: that one is sent early, which does no harm.
static void note_stray_claim(const struct row_element *element) {
  struct life *life = element->linked ? life_of(element->key, element->row.birth_ns) : NULL;
  if (life && element->row.sent_ns && !life->told)
    life->stray_claim = true;
}

// Mirrors sweep_sockets: whatever element the iterator has found is shown, though it may have been freed since.
static void sweep_element(struct row_element *element) {
  struct socket_record record = {0};
  unsigned generation = element->generation;
  struct life *life;
  __u64 now, sk, previous;
  bool claimed, wasteful;
  yield();
  sk = READ_ONCE(element->key);
  yield();
  now = table_now();
  yield();
  copying.record = &record;
  copying.row = &element->row;
  after_copy = current >= 0 ? tear_copy : NULL;
  claim_is_made = false;
  wasteful = state_is_wasteful(element->row.state) || element->row.destroyed;
  claimed = row_claim(sk, &element->row, &record, now, MIN_AGE_NS, &previous);
  // A state that is being written may be seen before its version.
  wasteful |= state_is_wasteful(record.row.state);
  after_copy = NULL;
  copying.record = NULL;
  covered.claims += claimed;
  covered.reuseDuringCopy += record.sk && element->generation != generation;
  if (record.sk && !claimed) {
    covered.abortedCopies++;
    covered.destroyedAfterClaim +=
        claim_is_made && (element->row.destroyed || element->generation != generation);
    note_stray_claim(element);
  }
  if (!claimed)
    return;
  life = life_of(record.sk, record.row.birth_ns);
  if (!emit(&swept, &record)) {
    yield();
    row_unclaim(&element->row, previous);
    note_stray_claim(element);
    return;
  }
  if (!life)
    return; // the reader complains
  if (!record.row.destroyed && previous == 0 && !wasteful && !life->told) {
    covered.earlySends++;
    if (!life->stray_claim)
      VIOLATED("a healthy socket that was never sent was emitted");
  }
  if (!life->told && life->stray_claim)
    covered.earlySends++;
  life->told = true;
  if (element->generation != generation)
    note_stray_claim(element);
}

static void sweep(void) {
  for (unsigned i = 0; i < ROW_ELEMENTS; i++)
    if (rows[i].linked)
      sweep_element(&rows[i]);
}

// Mirrors drain_ended.
static void drain_element(struct ended_element *element) {
  struct socket_identity key;
  struct socket_record record;
  struct ended_element *now_there;
  yield();
  key = element->key;
  yield();
  record.sk = key.sk;
  record.row = element->row;
  yield();
#ifndef MUTATE_DRAIN_UNCHECKED
  // Replaced by a second end of the same socket, and given to another one.
  if (record.row.birth_ns != key.birth_ns)
    return;
#endif
  if (!emit(&drained, &record))
    return;
  yield();
  now_there = ended_at(&key);
  if (now_there)
    free_ended_element(now_there);
}

static void drain(void) {
  for (unsigned i = 0; i < ENDED_ELEMENTS; i++)
    if (ended[i].linked)
      drain_element(&ended[i]);
}

static void sweeper_main(void) {
  while (!hooks_done) {
    sweep();
    sleep_steps(1 + below(run.longest_sweep_pause));
  }
  finish();
}

static void drainer_main(void) {
  while (!hooks_done) {
    drain();
    sleep_steps(1 + below(30));
  }
  finish();
}

// Rule 7, by identity: `live` is what a report would show.
struct known {
  __u64 sk, birth_ns;
  struct socket_row row;
  bool live, ended, held_at_exit;
};

static struct known ledger[2 * MOST_LIVES];
static unsigned ledger_size;

static struct known *ledger_entry(__u64 sk, __u64 birth_ns) {
  for (unsigned i = 0; i < ledger_size; i++)
    if (ledger[i].sk == sk && ledger[i].birth_ns == birth_ns)
      return &ledger[i];
  if (ledger_size == 2 * MOST_LIVES) {
    VIOLATED("the reader was told of more sockets than there can be");
    return &ledger[0];
  }
  ledger[ledger_size] = (struct known){.sk = sk, .birth_ns = birth_ns};
  return &ledger[ledger_size++];
}

static void apply(const struct socket_record *record, bool is_end) {
  const struct socket_row *row = &record->row;
  struct life *life = life_of(record->sk, row->birth_ns);
  struct known *known;
  if (!life) {
    VIOLATED("the reader was told of a socket that never was");
    return;
  }
  is_end |= row->destroyed || row->held_at_exit;
  if (is_end && !life->destroy_begun && !row->held_at_exit) {
    VIOLATED("a living socket was reported as ended");
    return;
  }
  known = ledger_entry(record->sk, row->birth_ns);
  if (is_end) {
    covered.endsSent++;
    known->live = false;
    known->ended = true;
    if (row->held_at_exit) {
      known->held_at_exit = true;
      known->row = *row;
    }
  }
  // Births at one address follow each other.
  for (unsigned i = 0; i < ledger_size; i++) {
    if (ledger[i].sk != record->sk || &ledger[i] == known)
      continue;
    if (ledger[i].birth_ns < known->birth_ns)
      ledger[i].live = false;
    else if (ledger[i].live || ledger[i].ended)
      return;
  }
  if (is_end || known->ended || (known->live && row->version_ns <= known->row.version_ns))
    return;
  covered.liveSent++;
  known->live = true;
  known->row = *row;
}

static bool read_one(void) {
  if (swept.head == swept.tail)
    swept.head = swept.tail = 0;
  if (drained.head == drained.tail)
    drained.head = drained.tail = 0;
  bool has_swept = swept.head < swept.tail, has_drained = drained.head < drained.tail;
  if (!has_swept && !has_drained)
    return false;
  if (has_swept && (!has_drained || one_in(2)))
    apply(&swept.records[swept.head++], false);
  else
    apply(&drained.records[drained.head++], true);
  return true;
}

static void reader_main(void) {
  while (!hooks_done) {
    if (!read_one())
      block();
    else if (one_in(2))
      sleep_steps(below(40));
  }
  finish();
}

// ---- one run

static void check_life(struct life *life) {
  struct known *known = NULL;
  bool due = state_is_wasteful(life->facts.state) && !life->facts.released;
  unsigned number = (unsigned)(life - lives);
  for (unsigned i = 0; i < ledger_size; i++)
    if (ledger[i].sk == life->sk && ledger[i].birth_ns == life->birth_ns)
      known = &ledger[i];
  if (!life->tracked) {
    if (known)
      VIOLATED("socket %u: not in the table, but reported", number);
    return;
  }
  if (!life->destroy_begun) {
    if (known && known->ended)
      VIOLATED("socket %u: lives, but the reader was told its end", number);
    else if (due && !(known && known->live))
      VIOLATED("socket %u: wasteful for min_age, but the reader does not know", number);
    else if (known && known->live && !same_facts(&known->row, &life->facts))
      VIOLATED("socket %u: the reader's facts are not the latest", number);
    return;
  }
  if (life->end_lost)
    return;
  if (known && known->live)
    VIOLATED("socket %u: destroyed, but lives for the reader", number);
  if (life->told && !(known && known->ended))
    VIOLATED("socket %u: was sent, but its end was not", number);
  if (!life->facts.held_at_exit)
    return;
  covered.heldAtExitUnsent += !life->told;
  if (!known || !known->held_at_exit)
    VIOLATED("socket %u: held at exit, but not reported as that", number);
  else if (!same_facts(&known->row, &life->facts))
    VIOLATED("socket %u: held at exit, with facts that are not the latest", number);
}

static void come_to_rest(void) {
  memset(&run, 0, sizeof(run));
  // An open at every free address ends what a missed destroy has left there.
  for (unsigned i = 0; i < ADDRESSES; i++)
    if (!at_address[i])
      open_socket(address_of(i), false);
  for (int pass = 0; pass < 2; pass++) {
    clock_ns += MIN_AGE_NS + 2 * SETTLED_NS;
    sweep();
    drain();
  }
  while (read_one()) {
  }
  for (unsigned i = 0; i < life_count; i++)
    check_life(&lives[i]);
}

static void start_actor(int actor, void (*run_actor)(void)) {
  getcontext(&actors[actor].context);
  actors[actor].context.uc_stack.ss_sp = stacks[actor];
  actors[actor].context.uc_stack.ss_size = STACK_BYTES;
  actors[actor].context.uc_link = NULL;
  makecontext(&actors[actor].context, run_actor, 0);
  actors[actor].runnable = true;
  actors[actor].frozen_until = 0;
  actors[actor].deadline_ns = 0;
}

static void start_run(uint64_t seed) {
  static const unsigned switches[] = {1, 2, 3, 8}, freezes[] = {0, 8, 20, 60};
  bool refusals;
  chance_state = seed * 0x2545f4914f6cdd1dULL + 1;
  run.bounded = one_in(3);
  run.clock_is_fast = one_in(2);
  run.longest_sweep_pause = one_in(2) ? 40 : 4;
  run.switch_one_in = switches[below(4)];
  run.freeze_one_in = freezes[below(4)];
  // Many sockets that come and go, or few that change for long.
  run.owners = 1 + below(OWNERS);
  run.most_changes = one_in(3) ? 16 : 4;
  run.longest_pause = one_in(2) ? 80 : 8;
  run.held_up_one_in = one_in(2) ? 3 : 0;
  refusals = one_in(3);
  run.insert_fails_one_in = refusals ? 8 : 0;
  run.park_fails_one_in = refusals ? (one_in(2) ? 3 : 12) : 0;
  run.delete_fails_one_in = refusals ? 1 + below(4) : 0;
  run.emission_fails_one_in = one_in(2) ? 3 : 0;
  run.destroy_missed_one_in = one_in(3) ? 5 : 0;
  clock_ns = 1000 * MIN_AGE_NS;
  steps = 0;
  hooks_done = false;
  life_count = ledger_size = destroyed_head = destroyed_tail = 0;
  swept.head = swept.tail = drained.head = drained.tail = 0;
  memset(at_address, 0, sizeof(at_address));
  memset(rows, 0, sizeof(rows));
  memset(ended, 0, sizeof(ended));
  for (free_row_count = 0; free_row_count < ROW_ELEMENTS; free_row_count++)
    free_rows[free_row_count] = free_row_count;
  for (free_ended_count = 0; free_ended_count < ENDED_ELEMENTS; free_ended_count++)
    free_ended[free_ended_count] = free_ended_count;
  other_cpu.life = NULL;
  other_cpu.waiting = -1;
}

static void run_once(uint64_t seed) {
  start_run(seed);
  for (int i = 0; i < ACTORS; i++)
    actors[i].runnable = false, actors[i].deadline_ns = 0;
  for (unsigned i = 0; i < run.owners; i++)
    start_actor(OWNER_FIRST + (int)i, owner_main);
  start_actor(OTHER_CPU, other_cpu_main);
  start_actor(DESTROYER, destroyer_main);
  start_actor(SWEEPER, sweeper_main);
  start_actor(DRAINER, drainer_main);
  start_actor(READER, reader_main);
  current = next_actor();
  swapcontext(&at_rest_context, &actors[current].context);
  come_to_rest();
}

int main(int argc, char **argv) {
  uint64_t seed = 1, runs = 20000, done = 0, violations = 0, first_seed = 0;
  bool stop_at_first = false;
  char first_message[sizeof(violation)] = "";
  for (int i = 1; i < argc; i++) {
    if (strcmp(argv[i], "--seed") == 0 && i + 1 < argc) {
      seed = strtoull(argv[++i], NULL, 0);
    } else if (strcmp(argv[i], "--runs") == 0 && i + 1 < argc) {
      runs = strtoull(argv[++i], NULL, 0);
    } else if (strcmp(argv[i], "--stop-at-first") == 0) {
      stop_at_first = true;
    } else {
      fprintf(stderr, "usage: %s [--seed N] [--runs M] [--stop-at-first]\n", argv[0]);
      return 2;
    }
  }
  for (; done < runs && !(stop_at_first && violations); done++) {
    violation[0] = 0;
    run_once(seed + done);
    if (violation[0] && violations++ == 0) {
      first_seed = seed + done;
      memcpy(first_message, violation, sizeof(violation));
    }
  }
#define COUNT(name) printf(",\"" #name "\":%llu", (unsigned long long)covered.name)
  printf("{\"runs\":%llu,\"violations\":%llu", (unsigned long long)done, (unsigned long long)violations);
  if (violations)
    printf(",\"firstSeed\":%llu,\"message\":\"%s\"", (unsigned long long)first_seed, first_message);
  else
    printf(",\"firstSeed\":null,\"message\":null");
  COUNT(claims);
  COUNT(abortedCopies);
  COUNT(failedEmissions);
  COUNT(destroyedAfterClaim);
  COUNT(reuseDuringCopy);
  COUNT(parks);
  COUNT(tombstones);
  COUNT(staleReplaced);
  COUNT(insertFailures);
  COUNT(deleteFailures);
  COUNT(heldAtExit);
  COUNT(heldAtExitUnsent);
  COUNT(liveSent);
  COUNT(endsSent);
  COUNT(earlySends);
  COUNT(lostAndCounted);
  puts("}");
  return violations ? 1 : 0;
}
