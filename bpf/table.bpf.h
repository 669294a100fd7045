/* SPDX-License-Identifier: (GPL-2.0-only OR MIT) */
/*
 * The socket table and its row protocol (PROTOCOL.md). Nothing here looks at the kernel: the test of the protocol
 * compiles this file for user space and interleaves its steps, so every map operation and clock reading goes
 * through the small set of table_* primitives, and YIELD() marks where another CPU may come between.
 */
#ifndef SOCKTRACE_TABLE_BPF_H
#define SOCKTRACE_TABLE_BPF_H

#include "records.h"

#ifndef YIELD
#define YIELD()
#endif

#define READ_ONCE(x) (*(volatile typeof(x) *)&(x))
#define WRITE_ONCE(x, v) (*(volatile typeof(x) *)&(x) = (v))

/* Kernel states whose rows user space is told of: a conservative test, kinds are named in TypeScript only. */
#define STATE_CLOSE 7
#define STATE_CLOSE_WAIT 8

/*
 * A row is sent only when its last change is this old. Whatever facts belong to that version are then visible to
 * the sweep's CPU, whichever order the writer's stores arrived in.
 */
#ifndef SETTLE_NS
#define SETTLE_NS 1000000ULL
#endif

/* The one primitive that is defined after this file. */
static __always_inline struct socket_row *table_lookup(__u64 sk);

static __always_inline bool state_is_wasteful(__u8 state)
{
	return state == STATE_CLOSE || state == STATE_CLOSE_WAIT;
}

/* Whether a walk has found this birth's sock freed. Its destroy has been counted then. */
static __always_inline bool row_has_vanished(const struct socket_row *row)
{
	return row->vanished_ns == row->birth_ns;
}

/* Ends a change: facts first, then the version. */
static __always_inline void row_changed(struct socket_row *row)
{
	__u64 now;

	YIELD();
	barrier();
	now = table_now();
	YIELD();
	WRITE_ONCE(row->version_ns, now);
	table_has_news(NEWS_SOCKETS);
}

/*
 * The row of a destroyed socket leaves the table. What user space has heard of, and what an exiting process
 * held, goes to the ended table first; if that refuses, the row stays as a tombstone that the sweep sends.
 */
static __always_inline void row_end(__u64 sk, struct socket_row *row)
{
	struct socket_identity identity = { .sk = sk, .birth_ns = row->birth_ns };

	if (READ_ONCE(row->destroyed))
		return;
	WRITE_ONCE(row->destroyed, 1);
	YIELD();
	barrier();
	/* Another version, for the sweep to see. When it was matters only if somebody is told. */
	WRITE_ONCE(row->version_ns, READ_ONCE(row->version_ns) + 1);
	/* Either this sees the sweep's sent_ns, or the sweep sees the new version: both store, fence, load. */
	table_full_barrier(&row->fence);
	YIELD();
	if (READ_ONCE(row->sent_ns) || row->held_at_exit) {
		row_changed(row);
		if (table_park_ended(&identity, row)) {
			table_count(COUNTER_LOSS_ENDED_PARK);
			return;
		}
	}
	YIELD();
	if (table_delete(sk))
		table_count(COUNTER_LOSS_SOCKET_DELETE);
}

/*
 * A row found at the address of a socket that was just born: its destroy was missed, or refused by the ended
 * table. No hook of the old socket can run any more, so the row can go.
 */
static __always_inline void row_end_stale(__u64 sk, struct socket_row *row)
{
	struct socket_identity identity = { .sk = sk, .birth_ns = row->birth_ns };

	table_count(COUNTER_STALE_ROW_REPLACED);
	WRITE_ONCE(row->destroyed, 1);
	row_changed(row);
	table_full_barrier(&row->fence);
	YIELD();
	if ((READ_ONCE(row->sent_ns) || row->held_at_exit) && table_park_ended(&identity, row))
		table_count(COUNTER_LOSS_ENDED_PARK);
	YIELD();
	if (table_delete(sk))
		table_count(COUNTER_LOSS_SOCKET_DELETE);
}

/* Whether the sweep should tell user space of this row now. */
static __always_inline bool row_is_due(const struct socket_row *row, __u64 version, __u64 now, __u64 min_age_ns)
{
	__u64 age = now > version ? now - version : 0;

	/* What has vanished is told by sweep_vanished, which counted its end. */
	if (age < SETTLE_NS || version == row->sent_ns || row_has_vanished(row))
		return false;
	/* What an exiting process held may live on without it for minutes, waiting for its peer. */
	if (row->sent_ns || row->destroyed || row->held_at_exit)
		return true;
	return age >= min_age_ns && state_is_wasteful(row->state) && !row->released;
}

static __always_inline void row_unclaim(struct socket_row *row, __u64 previous)
{
	WRITE_ONCE(row->sent_ns, previous);
}

/*
 * One step of the sweep: copies the row into `record` and claims it as sent. Returns false when there is nothing
 * to send. When the emission then fails, the caller gives back `*previous` by row_unclaim().
 */
static __always_inline bool row_claim(__u64 sk, struct socket_row *row, struct socket_record *record, __u64 now,
				      __u64 min_age_ns, __u64 *previous)
{
	__u64 version = READ_ONCE(row->version_ns), sent;

	YIELD();
	barrier();
	if (!row_is_due(row, version, now, min_age_ns))
		return false;
	/*
	 * The iterator may show an element that has been deleted, that another socket is being written into, or that
	 * is deleted now. In the table before and after the copy, with a version from before that does not change:
	 * then the copy is of one socket.
	 */
	YIELD();
	if (table_lookup(sk) != row)
		return false;
	YIELD();
	*previous = row->sent_ns;
	record->sk = sk;
	record->row = *row;
	YIELD();
	if (table_lookup(sk) != row)
		return false;
	/*
	 * A hook that was held up between its clock and its store has put an older version over a newer one: user
	 * space, which ignores what is older than it has, is given a newer one. The row stays dirty until it changes.
	 */
	sent = version > *previous ? version : *previous + 1;
	record->row.version_ns = sent;
	YIELD();
	WRITE_ONCE(row->sent_ns, sent);
	table_full_barrier(table_sweep_fence());
	YIELD();
	/*
	 * A destroy changes the version before it looks at sent_ns. Unchanged: it will see the claim and tell the end.
	 * Changed: it may have seen the row as never sent, and the element may be another socket's by now.
	 */
	if (READ_ONCE(row->version_ns) != version) {
		row_unclaim(row, *previous);
		return false;
	}
	return true;
}

#endif
