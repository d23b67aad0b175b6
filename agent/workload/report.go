package workload

import (
	"maps"
	"slices"
	"strings"

	"github.com/edgeio/edgeio/drivers"
	"github.com/edgeio/edgeio/proto/job"
	"github.com/edgeio/edgeio/proto/placement"
)

// Status is an instance as the parent is told of it.
type Status struct {
	Instance
	Progress *drivers.Progress // of what it is doing; may be nil
}

// Acknowledgement says that the parent has stored the changes of an instance
// up to Seq.
type Acknowledgement struct {
	ID         string
	Generation uint64
	Seq        uint64
}

// News tells that TakeNews has something. It is signalled once for any number
// of changes.
func (s *Supervisor) News() <-chan struct{} { return s.reportC }

// news has an instance reported. The caller holds mu.
func (s *Supervisor) news(id string) {
	s.reports[id] = struct{}{}
	signal(s.reportC)
}

// TakeNews returns up to limit instances that have changed since they were
// last taken. If more are left, News is signalled again.
func (s *Supervisor) TakeNews(limit int) []Status {
	s.mu.Lock()
	defer s.mu.Unlock()
	var out []Status
	for id := range s.reports {
		if len(out) == limit {
			signal(s.reportC)
			break
		}
		delete(s.reports, id)
		if a, ok := s.actors[id]; ok && !a.held {
			out = append(out, a.status())
		}
	}
	slices.SortFunc(out, func(a, b Status) int { return strings.Compare(a.ID, b.ID) })
	return out
}

func (a *actor) status() Status {
	st := Status{Instance: a.in, Progress: a.progress}
	if st.Progress == nil && a.in.Note != "" {
		st.Progress = &drivers.Progress{Phase: a.in.Note}
	}
	return st
}

// ReportAll makes all instances news: a new parent, or one that may have
// missed something, is told everything.
func (s *Supervisor) ReportAll() {
	s.mu.Lock()
	defer s.mu.Unlock()
	for id := range s.actors {
		s.reports[id] = struct{}{}
	}
	signal(s.reportC)
}

// ReportAgain makes what was taken news again: it did not arrive.
func (s *Supervisor) ReportAgain(taken []Status) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, st := range taken {
		s.news(st.ID)
	}
}

// Acknowledge drops history that the parent has, and forgets instances that
// were removed and of which the parent knows.
func (s *Supervisor) Acknowledge(acks []Acknowledgement) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, k := range acks {
		a, ok := s.actors[k.ID]
		if !ok {
			continue
		}
		// Not written by itself: changes that are reported again after a
		// restart do no harm.
		a.in = a.in.acknowledge(k.Generation, k.Seq)
		if a.in.forgettable() && !a.held {
			delete(s.actors, k.ID)
			s.journal.mark(k.ID)
		}
	}
}

// Offer is what the node can take.
type Offer struct {
	Capacity Resources
	Free     Resources
	Running  int
	Devices  []placement.Devices // free, alike ones together
	Taints   []job.Taint
	Runtimes []drivers.Info // sorted by name
}

// OfferChanged tells that Offer may say something new.
func (s *Supervisor) OfferChanged() <-chan struct{} { return s.offerC }

// Offer returns what the node can take now.
func (s *Supervisor) Offer() Offer {
	s.mu.Lock()
	defer s.mu.Unlock()
	t := s.taken("")
	o := Offer{
		Capacity: s.host.Capacity, Free: s.host.Capacity.Minus(t.resources),
		Devices: offered(s.host.freeDevices(t.devices)), Taints: s.host.Taints,
	}
	for _, a := range s.actors {
		if a.in.State == job.Running {
			o.Running++
		}
	}
	o.Free = Resources{max(o.Free.CPUMillis, 0), max(o.Free.MemoryBytes, 0), max(o.Free.DiskBytes, 0)}
	for _, name := range slices.Sorted(maps.Keys(s.runtimes)) {
		o.Runtimes = append(o.Runtimes, s.runtimes[name].info)
	}
	return o
}
