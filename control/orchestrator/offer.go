package orchestrator

import (
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
	c.mu.RLock()
	defer c.mu.RUnlock()
	// Two calls at a time see the same state, so their order does not matter.
	out := &pb.Offer{Sequence: c.offerSequence.Add(1), Capacity: &pb.Resources{}, Free: &pb.Resources{}}
	var fits []scheduler.Fit
	for id, l := range c.live {
		o := l.offer
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
		if ch := c.children.records[id]; ch != nil && ch.Kind == string(scheduler.Node) {
			out.NodeNames = append(out.NodeNames, ch.Name, ch.ID)
		}
	}
	out.Fits = fitsToProto(scheduler.Aggregate(fits))
	slices.Sort(out.NodeNames)
	out.NodeNames = slices.Compact(out.NodeNames)
	if len(out.NodeNames) > maxNodeNames {
		out.NodeNames, out.NodeNamesTruncated = out.NodeNames[:maxNodeNames], true
	}
	return out
}

// OfferChanged has a value when Offer may have another answer than before.
func (c *Core) OfferChanged() <-chan struct{} { return c.offerChanged }

// takeOffer replaces what a connected child offers, unless it is older than
// what is known.
func (c *Core) takeOffer(childID string, offer *pb.Offer, runtimes []*pb.Runtime) {
	if offer == nil {
		return
	}
	c.mu.Lock()
	l := c.live[childID]
	if l == nil || l.offer.GetSequence() >= offer.GetSequence() {
		c.mu.Unlock()
		return
	}
	l.offer, l.offerAt = offer, c.cfg.Now()
	if runtimes != nil {
		l.runtimes = runtimes
	}
	c.mu.Unlock()
	signal(c.offerChanged)
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
		if a.Name != b.Name {
			if a.Name < b.Name {
				return -1
			}
			return 1
		}
		if a.ID < b.ID {
			return -1
		}
		return 1
	})
	return out
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
