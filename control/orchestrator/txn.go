package orchestrator

import (
	"context"
	"encoding/json"
	"fmt"
	"time"

	"github.com/edgeio/edgeio/control/scheduler"
	"github.com/edgeio/edgeio/control/store"
	"github.com/edgeio/edgeio/proto/job"
)

// txn is a batch of commands on its way to the store. Only Run's goroutine
// has one, one at a time.
type txn struct {
	c          *Core
	ctx        context.Context // of Run
	now        time.Time
	undo       []func()       // of the command in progress
	encode     []func() error // records that the command in progress has changed
	events     []Event
	revision   uint64
	candidates []*scheduler.Candidate // nil until needed; free room is kept up to date
	forgotten  []string               // instances whose history goes
	trimmed    []string               // instances whose history is cut
	after      []func()               // to do once it is committed
}

func (c *Core) begin(ctx context.Context) *txn {
	return &txn{c: c, ctx: ctx, now: c.cfg.Now().UTC(), revision: c.revision}
}

// run carries out one command; if it fails nothing of it stays. One that makes
// a record that the store would not take fails by itself, not with its batch.
func (tx *txn) run(command func(*txn) error) error {
	events, revision, after := len(tx.events), tx.revision, len(tx.after)
	forgotten, trimmed := len(tx.forgotten), len(tx.trimmed)
	tx.undo, tx.encode = tx.undo[:0], tx.encode[:0]
	err := command(tx)
	for _, encode := range tx.encode {
		if err == nil {
			err = encode()
		}
	}
	if err == nil {
		return nil
	}
	for i := len(tx.undo) - 1; i >= 0; i-- {
		tx.undo[i]()
	}
	tx.events, tx.revision, tx.after = tx.events[:events], revision, tx.after[:after]
	tx.forgotten, tx.trimmed = tx.forgotten[:forgotten], tx.trimmed[:trimmed]
	return err
}

func (tx *txn) setJob(j *Job) { set(tx, tx.c.jobs, j.ID, j) }

func (tx *txn) setChild(ch *Child) { set(tx, tx.c.children, ch.ID, ch) }

func (tx *txn) deleteChild(id string) { set(tx, tx.c.children, id, nil) }

func (tx *txn) setInstance(in *Instance) { set(tx, tx.c.instances, in.ID, in) }

func set[T any](tx *txn, t *table[T], id string, r *T) {
	tx.undo = append(tx.undo, t.set(id, r))
	tx.encode = append(tx.encode, func() error { return t.encode(id) })
}

// deleteInstance forgets an instance with its history.
func (tx *txn) deleteInstance(id string) {
	tx.forgotten = append(tx.forgotten, id)
	set(tx, tx.c.instances, id, nil)
}

// move puts the instance into a state, records that in its history, and stores
// it. in is a copy that the caller has made, with its other fields set. The
// move must be legal.
func (tx *txn) move(in *Instance, ch Change) error {
	if err := job.Move(in.State, ch.State); err != nil {
		return fmt.Errorf("instance %s: %w", in.ID, err)
	}
	tx.revision++
	if ch.Time.IsZero() {
		ch.Time = tx.now
	}
	ch.Revision, ch.ChildID, ch.NodeName = tx.revision, in.ChildID, in.NodeName
	in.State, in.Reason, in.Since, in.Rejections = ch.State, ch.Reason, ch.Time, ch.Rejections
	if ch.Exit != nil {
		in.Exit = ch.Exit
	}
	if in.HistoryLen++; in.HistoryLen > maxHistory+maxHistory/4 {
		in.HistoryLen = maxHistory
		tx.trimmed = append(tx.trimmed, in.ID)
	}
	if in.ParentGeneration != 0 {
		in.Seq++
		ch.Seq = in.Seq
		in.Outbox = appendBounded(in.Outbox, ch)
	}
	tx.events = append(tx.events, Event{
		JobID: in.JobID, JobName: in.parsed.Name, InstanceID: in.ID, Change: ch,
		ChildName: tx.childName(in.ChildID),
	})
	tx.setInstance(in)
	return nil
}

// maxOutbox bounds what is kept for a parent that is away. The oldest changes
// but the first go; the parent sees the gap in the sequence numbers.
const maxOutbox = 128

// maxHistory is how many changes of an instance are kept, give or take a few.
const maxHistory = 400

// appendBounded adds a change. Only the last change keeps its rejections: of
// the others the reason says enough.
func appendBounded(changes []Change, ch Change) []Change {
	out := make([]Change, 0, len(changes)+1)
	out = append(out, changes...)
	if n := len(out); n > 0 {
		out[n-1].Rejections = nil
	}
	if len(out) >= maxOutbox {
		out = append(out[:1], out[2:]...)
	}
	return append(out, ch)
}

func (tx *txn) childName(id string) string {
	if ch := tx.c.children.get(id); ch != nil {
		return ch.Name
	}
	return ""
}

// commit writes the transaction to the store and makes it visible, or forgets it.
func (tx *txn) commit(ctx context.Context) error {
	c := tx.c
	if tx.empty() {
		tx.finish()
		return nil
	}
	if err := c.cfg.Store.Update(ctx, func(stx store.Tx) error { return tx.write(ctx, stx) }); err != nil {
		c.jobs.forget()
		c.instances.forget()
		c.children.forget()
		return err
	}
	c.mu.Lock()
	c.revision = tx.revision
	for id := range c.instances.changed() {
		c.noticeChange(c.instances.records[id], c.instances.dirty[id])
	}
	for id := range c.jobs.changed() {
		c.indexJob(c.jobs.records[id], c.jobs.dirty[id])
	}
	c.jobs.merge()
	c.instances.merge()
	c.children.merge()
	c.publish(tx.events)
	c.mu.Unlock()
	tx.finish()
	return nil
}

// empty reports whether there is nothing to write: many a command finds that
// all is well, and need not cost a write to disk.
func (tx *txn) empty() bool {
	return len(tx.c.jobs.dirty)+len(tx.c.instances.dirty)+len(tx.c.children.dirty)+len(tx.forgotten) == 0
}

func (tx *txn) finish() {
	for _, f := range tx.after {
		f()
	}
}

func (tx *txn) write(ctx context.Context, stx store.Tx) error {
	for _, write := range []func(context.Context, store.Tx) error{tx.c.jobs.write, tx.c.instances.write, tx.c.children.write} {
		if err := write(ctx, stx); err != nil {
			return err
		}
	}
	for _, ev := range tx.events {
		value, err := json.Marshal(ev)
		if err != nil {
			return fmt.Errorf("encode event: %w", err)
		}
		if err := stx.Put(historyKey(ev.InstanceID, ev.Revision), value); err != nil {
			return err
		}
	}
	for _, id := range tx.forgotten {
		prefix := historyPrefix + id + "/"
		if err := stx.Scan(prefix, func(key string, _ []byte) error { return stx.Delete(key) }); err != nil {
			return err
		}
	}
	for _, id := range tx.trimmed {
		if err := trimHistory(stx, id); err != nil {
			return err
		}
	}
	if tx.revision == tx.c.revision {
		return nil
	}
	return stx.Put(revisionKey, fmt.Appendf(nil, "%d", tx.revision))
}

// noticeChange tells those who act on an instance that it has changed: the
// child that has it, the one that had it, and the parent. Called with mu held.
func (c *Core) noticeChange(old, in *Instance) {
	c.index(old, in)
	if old != nil && old.ChildID != "" && (in == nil || in.ChildID != old.ChildID) {
		c.tellChild(old.ChildID, old.ID)
	}
	if in == nil {
		if old != nil {
			delete(c.progress, old.ID)
			delete(c.outbox, old.ID)
		}
		return
	}
	if in.ChildID != "" && (old == nil || old.ChildID != in.ChildID || old.Generation != in.Generation || old.Desired != in.Desired) {
		c.tellChild(in.ChildID, in.ID)
	}
	if old == nil || old.State != in.State {
		delete(c.progress, in.ID)
	}
	for _, id := range []string{in.ChildID, childOf(old)} {
		l := c.live[id]
		if l == nil {
			continue
		}
		if id != in.ChildID || !in.wanted() {
			l.promised(in.ID, nil)
		} else if old == nil || old.Generation != in.Generation {
			l.promised(in.ID, in)
		}
	}
	if in.ParentGeneration != 0 && (old == nil || old.Seq != in.Seq || old.Restarts != in.Restarts || len(old.Endpoints) != len(in.Endpoints)) {
		c.outbox[in.ID] = struct{}{}
		signal(c.outboxReady)
	}
	if in.wanted() != (old != nil && old.wanted()) || in.ChildID != childOf(old) {
		signal(c.offerChanged)
	}
}

func childOf(in *Instance) string {
	if in == nil {
		return ""
	}
	return in.ChildID
}

// tellChild marks an instance for the child's next Apply.
func (c *Core) tellChild(childID, instanceID string) {
	if l := c.live[childID]; l != nil {
		l.dirty[instanceID] = struct{}{}
		signal(l.kick)
	}
}
