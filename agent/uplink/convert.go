package uplink

import (
	"errors"
	"fmt"
	"slices"
	"time"

	"google.golang.org/protobuf/types/known/timestamppb"

	"github.com/edgeio/edgeio/agent/workload"
	"github.com/edgeio/edgeio/drivers"
	edgeiov1 "github.com/edgeio/edgeio/proto/edgeio/v1"
	"github.com/edgeio/edgeio/proto/job"
	"github.com/edgeio/edgeio/proto/link"
)

func (u *Uplink) wireStatus(st workload.Status) *edgeiov1.InstanceStatus {
	peer := u.cfg.Identity.Peer()
	out := &edgeiov1.InstanceStatus{
		InstanceId: st.ID, Generation: st.Generation, State: string(st.State), Incarnation: st.Incarnation,
		NodeId: peer.ID, NodeName: u.cfg.Node.Name,
		Restarts: uint32(st.Restarts), Exit: wireExit(st.Exit),
	}
	for _, c := range st.Changes {
		out.Changes = append(out.Changes, &edgeiov1.Change{
			Seq: c.Seq, Time: timestamppb.New(c.Time), State: string(c.State), Reason: c.Reason, Exit: wireExit(c.Exit),
		})
	}
	if p := st.Progress; p != nil {
		out.Progress = &edgeiov1.Progress{Phase: p.Phase, Current: p.Current, Total: p.Total}
	}
	if st.State == job.Running {
		var addresses []string
		if len(st.Ports) > 0 && u.cfg.Addresses != nil {
			addresses = u.cfg.Addresses()
		}
		for _, p := range st.Ports {
			out.Endpoints = append(out.Endpoints, &edgeiov1.Endpoint{
				Name: p.Name, Protocol: p.Protocol, Port: uint32(p.Port), HostPort: uint32(p.HostPort), Addresses: addresses,
			})
		}
	}
	return out
}

func wireExit(e *drivers.Exit) *edgeiov1.Exit {
	if e == nil {
		return nil
	}
	return &edgeiov1.Exit{Code: int32(e.Code), OomKilled: e.OOMKilled, Lost: e.Lost}
}

// wireOffer gives the offer the next sequence number.
func (u *Uplink) wireOffer(o workload.Offer) *edgeiov1.Offer {
	fit := &edgeiov1.Fit{Arch: u.cfg.Node.Arch, Free: wireResources(o.Free), Count: 1}
	for _, r := range o.Runtimes {
		if r.Usable {
			fit.Runtimes = append(fit.Runtimes, r.Name)
		}
	}
	slices.Sort(fit.Runtimes)
	for _, d := range o.Devices {
		fit.Devices = append(fit.Devices, &edgeiov1.Devices{
			Kind: d.Kind, Vendor: d.Vendor, Model: d.Model, MemoryBytes: d.MemoryBytes, Count: uint32(d.Count),
			Names: d.Names, Nameless: d.Nameless, Shared: d.Shared,
		})
	}
	for _, t := range o.Taints {
		fit.Taints = append(fit.Taints, &edgeiov1.Taint{Key: t.Key, Value: t.Value, Effect: string(t.Effect)})
	}
	return &edgeiov1.Offer{
		Sequence: u.offers.Add(1),
		Capacity: wireResources(o.Capacity), Free: wireResources(o.Free),
		Nodes: 1, Instances: uint32(o.Running), Fits: []*edgeiov1.Fit{fit},
		NodeNames: []string{u.cfg.Node.Name, u.cfg.Identity.Peer().ID},
	}
}

func wireResources(r workload.Resources) *edgeiov1.Resources {
	return &edgeiov1.Resources{CpuMillis: r.CPUMillis, MemoryBytes: r.MemoryBytes, DiskBytes: r.DiskBytes}
}

func wireRuntimes(infos []drivers.Info) []*edgeiov1.Runtime {
	var out []*edgeiov1.Runtime
	for _, i := range infos {
		r := &edgeiov1.Runtime{
			Name: i.Name, Usable: i.Usable, Version: i.Version, Endpoint: i.Endpoint, Reason: i.Reason, Remedy: i.Remedy,
		}
		for _, f := range i.Features {
			r.Features = append(r.Features, string(f))
		}
		out = append(out, r)
	}
	return out
}

func (u *Uplink) wireUsage(s Usage, now time.Time) *edgeiov1.UsageSample {
	return &edgeiov1.UsageSample{
		Sequence: u.samples.Add(1), AgeMs: uint32(max(now.Sub(s.At), 0).Milliseconds()),
		CpuMillis: s.CPUMillis, MemoryBytes: s.MemoryBytes, DiskBytes: s.DiskBytes,
	}
}

func assignment(a *edgeiov1.Assignment) (workload.Assignment, error) {
	j, err := job.Decode(a.GetJob())
	if err != nil {
		return workload.Assignment{}, fmt.Errorf("the job cannot be read: %w", err)
	}
	return workload.Assignment{
		ID: a.GetInstanceId(), Generation: a.GetGeneration(), JobID: a.GetJobId(), Index: a.GetIndex(), Job: *j,
	}, nil
}

// classes maps the drivers' error classes to those of the link, first match
// first.
var classes = []struct {
	driver error
	link   link.Class
}{
	{drivers.ErrNotFound, link.NotFound},
	{drivers.ErrInvalid, link.Invalid},
	{drivers.ErrConflict, link.Conflict},
	{drivers.ErrUnavailable, link.Unavailable},
	{drivers.ErrDenied, link.Denied},
	{drivers.ErrExhausted, link.Exhausted},
	{drivers.ErrUnsupported, link.Unsupported},
	{drivers.ErrImage, link.Invalid},
}

// classified gives an error of a driver a class for the wire.
func classified(err error) error {
	if err == nil {
		return nil
	}
	for _, c := range classes {
		if errors.Is(err, c.driver) {
			return link.Error(c.link, "%w", err)
		}
	}
	return err
}
