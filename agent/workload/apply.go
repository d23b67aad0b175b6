package workload

import (
	"context"
	"fmt"
	"strings"
	"time"
)

// Batch is a change of what the node shall hold.
type Batch struct {
	Put    []Assignment
	Remove []string
	// Keep, if not nil, has everything removed that it does not name: the end
	// of a snapshot.
	Keep map[string]struct{}
}

// Refusal is an assignment that the node does not take.
type Refusal struct {
	ID         string
	Generation uint64
	Reason     string
}

// Answer is what became of a Batch.
type Answer struct {
	Refusals []Refusal
	Absent   []string // of Remove: not here
}

// Apply takes a batch. When it returns without an error all of it that was not
// refused is on disk, and the work on it has begun. Applying twice is harmless.
func (s *Supervisor) Apply(ctx context.Context, b Batch) (Answer, error) {
	select {
	case <-s.started:
	case <-ctx.Done():
		return Answer{}, context.Cause(ctx)
	}
	select {
	case s.applies <- struct{}{}:
		defer func() { <-s.applies }()
	case <-ctx.Done():
		return Answer{}, context.Cause(ctx)
	}

	w := wishes{s: s}
	s.mu.Lock()
	for _, id := range b.Remove {
		w.remove(id)
	}
	for _, a := range b.Put {
		w.put(a)
	}
	if b.Keep != nil {
		for id := range s.actors {
			if _, ok := b.Keep[id]; !ok {
				w.remove(id)
			}
		}
	}
	s.mu.Unlock()
	if len(w.changed) == 0 {
		return w.answer, nil
	}

	// Without the caller's context: whether it waits or not, the wishes are
	// held until they are written.
	err := s.journal.sync(context.WithoutCancel(ctx))
	if err != nil {
		s.withdraw(w.created)
		s.release(w.changed)
		return Answer{}, fmt.Errorf("store assignments: %w", err)
	}
	s.release(w.changed)
	return w.answer, nil
}

// wishes collects the effects of one batch. Its methods are called with mu held.
type wishes struct {
	s       *Supervisor
	changed []*actor
	created []*actor // of changed: not known before
	answer  Answer
}

func (w *wishes) remove(id string) {
	a, ok := w.s.actors[id]
	if !ok {
		w.answer.Absent = append(w.answer.Absent, id)
		return
	}
	if a.in.Removed {
		if a.in.Phase == PhaseGone {
			// The parent may have missed the end, or may not take it for the end
			// of what it means.
			w.answer.Absent = append(w.answer.Absent, id)
		}
		w.s.news(id)
		return
	}
	w.s.overtake(a, Event{Kind: EventRemove})
	w.changed = append(w.changed, a)
}

func (w *wishes) put(as Assignment) {
	a, ok := w.s.actors[as.ID]
	switch {
	case ok && as.Generation < a.in.Generation:
		w.refuse(as, fmt.Sprintf("generation %d is older than %d, which the node has", as.Generation, a.in.Generation))
		return
	case ok && as.Generation == a.in.Generation:
		w.s.news(as.ID)
		return
	}
	devices, reasons := w.s.admit(as.Job, as.ID)
	if len(reasons) > 0 {
		w.refuse(as, strings.Join(reasons, "; "))
		if ok {
			// The parent has given the instance a new owner: the old one is over.
			w.remove(as.ID)
		}
		return
	}
	if ok {
		w.s.overtake(a, Event{Kind: EventReplace, Assignment: as, Devices: devices})
		w.changed = append(w.changed, a)
		return
	}
	a = newActor(accept(as, devices, time.Now()))
	a.held = true
	w.s.actors[as.ID] = a
	w.s.journal.mark(as.ID)
	signal(w.s.offerC)
	w.s.logChange(a.in)
	w.changed = append(w.changed, a)
	w.created = append(w.created, a)
}

func (w *wishes) refuse(a Assignment, reason string) {
	w.answer.Refusals = append(w.answer.Refusals, Refusal{ID: a.ID, Generation: a.Generation, Reason: reason})
}

// withdraw forgets assignments that could not be stored.
func (s *Supervisor) withdraw(actors []*actor) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, a := range actors {
		a.in.Phase = PhaseGone
		delete(s.actors, a.in.ID)
		s.journal.mark(a.in.ID)
	}
	signal(s.offerC)
}
