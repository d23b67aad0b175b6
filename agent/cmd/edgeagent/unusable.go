package main

import (
	"context"
	"time"

	"github.com/edgeio/edgeio/agent/uplink"
	"github.com/edgeio/edgeio/capabilities"
	"github.com/edgeio/edgeio/drivers"
)

// unusable stands for a driver that could not be set up.
type unusable struct {
	name string
	err  error
}

var _ drivers.Driver = unusable{}

func (u unusable) fail(op, id string) error {
	return drivers.Errorf(drivers.ErrUnavailable, op, id, "%w", u.err)
}

func (u unusable) Probe(context.Context) drivers.Info {
	return drivers.Info{Name: u.name, Reason: u.err.Error()}
}

func (u unusable) Create(_ context.Context, s drivers.Spec, _ func(drivers.Progress)) (drivers.Handle, error) {
	return drivers.Handle{}, u.fail("create", s.ID)
}

func (u unusable) Start(_ context.Context, h drivers.Handle) error { return u.fail("start", h.ID) }

func (u unusable) Stop(_ context.Context, h drivers.Handle, _ drivers.StopOptions) error {
	return u.fail("stop", h.ID)
}

func (u unusable) Remove(_ context.Context, h drivers.Handle) error { return u.fail("remove", h.ID) }

func (u unusable) Status(_ context.Context, h drivers.Handle) (drivers.Status, error) {
	return drivers.Status{}, u.fail("status", h.ID)
}

func (u unusable) Wait(_ context.Context, h drivers.Handle) (drivers.Exit, error) {
	return drivers.Exit{}, u.fail("wait", h.ID)
}

func (u unusable) Logs(_ context.Context, h drivers.Handle, _ drivers.LogOptions, _ func(drivers.LogEntry) error) error {
	return u.fail("logs", h.ID)
}

func (u unusable) List(context.Context) ([]drivers.Handle, error) { return nil, u.fail("list", "") }

// sample puts a measurement in the terms of the link.
func sample(ctx context.Context, s *capabilities.Sampler) (uplink.Usage, error) {
	u, err := s.Sample(ctx)
	return uplink.Usage{
		At: time.Now(), CPUMillis: uint32(u.CPUMillis), MemoryBytes: uint64(u.MemoryBytes), DiskBytes: uint64(u.DiskBytes),
	}, err
}
