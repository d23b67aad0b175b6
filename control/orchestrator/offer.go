package orchestrator

import (
	"cmp"
	"slices"
	"time"

	"github.com/edgeio/edgeio/control/scheduler"
	pb "github.com/edgeio/edgeio/proto/edgeio/v1"
	"github.com/edgeio/edgeio/proto/job"
)

// maxNodeNames bounds the names in an aggregate; a parent asks for what is not
// listed.
const maxNodeNames = 512

// Offer is what this orchestrator can take, aggregated over its connected
// children, less all that is reserved.
func (c *Core) Offer() *pb.Offer {
	out, fits := c.collectOffers()
	out.Fits = fitsToProto(scheduler.Aggregate(fits))
	slices.Sort(out.NodeNames)
	out.NodeNames = slices.Compact(out.NodeNames)
	if len(out.NodeNames) > maxNodeNames {
		out.NodeNames, out.NodeNamesTruncated = out.NodeNames[:maxNodeNames], true
	}
	return out
}

func (c *Core) collectOffers() (*pb.Offer, []scheduler.Fit) {
	c.mu.Lock()
	defer c.mu.Unlock()
	out := &pb.Offer{Sequence: c.offerSequence.Add(1), Capacity: &pb.Resources{}, Free: &pb.Resources{}}
	var fits []scheduler.Fit
	for id, l := range c.live {
		ch, o := c.children.records[id], l.offer
		if ch == nil {
			continue // it has left, and only the connection is still there
		}
		addResources(out.Capacity, o.GetCapacity())
		addResources(out.Free, o.GetFree())
		for _, in := range l.unacked {
			subResources(out.Free, scheduler.Needs(in.parsed))
		}
		out.Nodes += o.GetNodes()
		out.Instances += o.GetInstances()
		if o.GetDraining() {
			continue
		}
		fits = append(fits, l.freeFits()...)
		out.NodeNames = append(out.NodeNames, o.GetNodeNames()...)
		out.NodeNamesTruncated = out.NodeNamesTruncated || o.GetNodeNamesTruncated()
		if ch.Kind == string(scheduler.Node) {
			out.NodeNames = append(out.NodeNames, ch.Name, ch.ID)
		}
	}
	if c.gathered == nil {
		c.gathered = c.gather()
	}
	out.Labels, out.LabelsTruncated, out.Runtimes = c.gathered.labels, c.gathered.truncated, c.gathered.runtimes
	return out, fits
}

// OfferChanged has a value when Offer may have another answer than before.
func (c *Core) OfferChanged() <-chan struct{} { return c.offerChanged }

// takeOffer replaces what a connected child offers, unless it is older than
// what is known, or of an earlier session. What it acknowledges is in the offer.
func (c *Core) takeOffer(s *session, offer *pb.Offer, runtimes []*pb.Runtime, acknowledged []*Instance) {
	c.mu.Lock()
	l := c.live[s.childID]
	if l == nil || l.session != s {
		c.mu.Unlock()
		return
	}
	for _, in := range acknowledged {
		if un := l.unacked[in.ID]; un != nil && un.Generation == in.Generation {
			l.promised(in.ID, nil)
		}
	}
	if l.told != nil {
		close(l.told)
		l.told = nil
	}
	newer := offer != nil && offer.GetSequence() > l.offer.GetSequence()
	if newer {
		if !sameTraits(l, offer, runtimes) {
			l.traits, c.gathered = nil, nil
		}
		l.offer, l.offerAt, l.free = offer, c.cfg.Now(), nil
		if runtimes != nil {
			l.runtimes = runtimes
		}
	}
	c.mu.Unlock()
	if newer || len(acknowledged) > 0 {
		signal(c.offerChanged)
	}
}

// promised notes an instance that the child has been assigned but that is not
// in its offer yet; nil takes that back. Called with mu held.
func (l *live) promised(instanceID string, in *Instance) {
	if l.unacked[instanceID] == in {
		return
	}
	l.free = nil
	if in == nil {
		delete(l.unacked, instanceID)
		return
	}
	l.unacked[instanceID] = in
}

// freeFits is the offer less what was promised since. Called with mu held; the
// result must not be changed.
func (l *live) freeFits() []scheduler.Fit {
	if l.free == nil {
		l.free = fitsFromProto(l.offer.GetFits())
		for _, in := range l.unacked {
			l.free = scheduler.Reserve(l.free, in.parsed)
		}
	}
	return l.free
}

// ChildView is a child with what is known of it while it is connected.
type ChildView struct {
	Child
	Connected bool
	Address   string // where it connects from
	Since     time.Time
	Offer     *pb.Offer // nil if not connected
	OfferAt   time.Time // when it came
	Runtimes  []*pb.Runtime
	Usage     *pb.UsageSample // nil before the first sample
	UsageAt   time.Time
	Running   int // instances here in state RUNNING
}

// Children returns all children, by name.
func (c *Core) Children() []ChildView {
	c.mu.RLock()
	out := make([]ChildView, 0, len(c.children.records))
	for id, ch := range c.children.records {
		v := ChildView{Child: *ch}
		if l := c.live[id]; l != nil {
			v.Connected, v.Address, v.Since = true, l.session.address(), l.since
			v.Offer, v.OfferAt, v.Runtimes, v.Usage, v.UsageAt = l.offer, l.offerAt, l.runtimes, l.usage, l.usageAt
		}
		for inst := range c.byChild[id] {
			if c.instances.records[inst].State == job.Running {
				v.Running++
			}
		}
		out = append(out, v)
	}
	c.mu.RUnlock()
	slices.SortFunc(out, func(a, b ChildView) int {
		return cmp.Or(cmp.Compare(a.Name, b.Name), cmp.Compare(a.ID, b.ID))
	})
	return out
}

// Child returns a child, or nil.
func (c *Core) Child(id string) *Child {
	c.mu.RLock()
	defer c.mu.RUnlock()
	return c.children.records[id]
}

// Progress returns what is being done for an instance that is not running yet, or nil.
func (c *Core) Progress(instanceID string) *pb.Progress {
	c.mu.RLock()
	defer c.mu.RUnlock()
	return c.progress[instanceID]
}

func addResources(to, r *pb.Resources) {
	to.CpuMillis += r.GetCpuMillis()
	to.MemoryBytes += r.GetMemoryBytes()
	to.DiskBytes += r.GetDiskBytes()
}

func subResources(from *pb.Resources, r scheduler.Resources) {
	from.CpuMillis -= r.CPUMillis
	from.MemoryBytes -= r.MemoryBytes
	from.DiskBytes -= r.DiskBytes
}
