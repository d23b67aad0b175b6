package capabilities

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"
)

// probeTimeout is how long a probe may take: many times what any needs, short
// enough for an agent's start. A dead network file system may block one for ever.
const probeTimeout = 2 * time.Second

// Prober finds out one thing about a host. It is safe for concurrent use.
type Prober interface {
	// Name names the probe in warnings.
	Name() string

	// Probe returns how to enter what it has found in a report. With an error
	// as well, a part was found. It honours the context where it can.
	Probe(ctx context.Context, host Host) (enter func(*Report), err error)
}

// Probers returns the probes that Discover runs.
func Probers() []Prober {
	return []Prober{
		identity{}, system{}, board{}, cpu{}, memory{}, disk{}, network{},
		pciDevices{}, usbDevices{}, platformDevices{}, accelerators{}, fpgaManagers{},
		video{}, serialPorts{}, buses{}, sensors{}, tpms{},
		virtualisation{}, kvm{}, cgroups{}, security{}, clock{},
	}
}

// Discover runs all probes at once and returns what they found by their
// deadline or the context's. A probe that fails, panics or is late is a
// warning; a late one is left to end by itself and its finding is dropped.
func Discover(ctx context.Context, host Host) Report {
	return discover(ctx, host, Probers(), probeTimeout)
}

type finding struct {
	enter func(*Report)
	err   error
}

func discover(ctx context.Context, host Host, probers []Prober, timeout time.Duration) Report {
	ctx, cancel := context.WithTimeout(ctx, timeout)
	defer cancel()
	findings := make([]chan finding, len(probers))
	for i, p := range probers {
		findings[i] = make(chan finding, 1) // a late probe does not block
		go func() { findings[i] <- run(ctx, p, host) }()
	}
	report := Report{Addresses: []string{}}
	for i, p := range probers {
		var f finding
		select {
		case f = <-findings[i]:
		case <-ctx.Done():
			select {
			case f = <-findings[i]: // it was in time, we were not
			default:
				f.err = errors.New("no answer in time")
			}
		}
		if f.enter != nil {
			f.enter(&report)
		}
		if f.err != nil {
			report.Warnings = append(report.Warnings, p.Name()+": "+strings.ReplaceAll(f.err.Error(), "\n", "; "))
		}
	}
	report.Devices = settle(report.Devices)
	if n := len(report.Devices); n > maxDevices {
		report.Devices = report.Devices[:maxDevices]
		report.Warnings = append(report.Warnings, fmt.Sprintf("devices: only %d of %d are reported", maxDevices, n))
	}
	slices.Sort(report.Warnings)
	return report
}

func run(ctx context.Context, p Prober, host Host) (f finding) {
	defer func() {
		if r := recover(); r != nil {
			f = finding{err: fmt.Errorf("the probe panicked: %v", r)}
		}
	}()
	f.enter, f.err = p.Probe(ctx, host)
	return f
}
