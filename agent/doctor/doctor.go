// Package doctor examines whether a node has all that it needs, and says what
// to do about what it lacks. It changes nothing. Only the check of the parents
// uses the network; the others judge what they are given.
package doctor

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/edgeio/edgeio/agent/config"
	"github.com/edgeio/edgeio/capabilities"
	"github.com/edgeio/edgeio/drivers"
)

// Level is how good or bad a finding is.
type Level string

// The levels.
const (
	OK   Level = "ok"
	Warn Level = "warn" // the node works, but less well than it could
	Fail Level = "fail" // the node cannot do its work
)

// Finding is what a check has found.
type Finding struct {
	Check  string `json:"check"` // "parent 192.0.2.1:7443", "clock", …
	Level  Level  `json:"level"`
	Detail string `json:"detail"`
	Remedy string `json:"remedy,omitempty"` // what to do, unless it is OK
}

// Subject is the node to examine.
type Subject struct {
	Config  config.Config
	Report  capabilities.Report
	Drivers []drivers.Info
	Parents []string          // addresses
	Leaf    *x509.Certificate // nil: the node has not joined
	TLS     *tls.Config       // to dial with; for a node that has not joined, one that trusts nobody
	Now     time.Time
	Root    bool // the agent would be, or we are, the superuser
	State   error
}

// Examine runs all checks. Findings are in the order of the checks; the
// parents are asked all at once.
func Examine(ctx context.Context, s Subject) []Finding {
	parents := make([]Finding, len(s.Parents))
	var wg sync.WaitGroup
	for i, address := range s.Parents {
		wg.Go(func() { parents[i] = parent(ctx, address, s) })
	}
	wg.Wait()
	findings := []Finding{joined(s)}
	if len(s.Parents) == 0 {
		findings = append(findings, Finding{"parent", Fail, "no parent is known", `join one with "edgeagent join", or name it in the setting parents`})
	}
	findings = append(findings, parents...)
	findings = append(findings, clock(s), state(s), disk(s), cgroups(s.Report), permissions(s))
	findings = append(findings, runtimes(s.Drivers)...)
	return append(findings, machine(s.Report))
}

// Worst returns the worst level among findings; OK if there are none.
func Worst(findings []Finding) Level {
	worst := OK
	for _, f := range findings {
		if f.Level == Fail || worst == OK {
			worst = f.Level
		}
	}
	return worst
}

func joined(s Subject) Finding {
	const check = "identity"
	switch {
	case s.Leaf == nil:
		return Finding{check, Fail, "the node has not joined a cluster", `make a token with "edgectl token create", then run "edgeagent join"`}
	case s.Now.After(s.Leaf.NotAfter):
		return Finding{check, Fail, "the certificate expired on " + s.Leaf.NotAfter.Format(time.DateOnly), `join again with "edgeagent join --force"; is the clock right?`}
	}
	return Finding{check, OK, "joined; the certificate is good until " + s.Leaf.NotAfter.Format(time.DateOnly), ""}
}

// earliest is before any release: a clock that is behind it was never set.
var earliest = time.Date(2024, 1, 1, 0, 0, 0, 0, time.UTC)

func clock(s Subject) Finding {
	const check = "clock"
	const remedy = "set up time synchronisation (systemd-timesyncd, chrony or ntpd)"
	now := s.Now.UTC().Format(time.DateTime) + " UTC"
	switch {
	case s.Now.Before(earliest), s.Leaf != nil && s.Now.Before(s.Leaf.NotBefore):
		return Finding{check, Fail, "it says " + now + ", which is in the past", remedy}
	case s.Report.Clock.Synchronised == capabilities.No && !s.Report.Clock.RTC:
		return Finding{check, Warn, "it is not synchronised, and stands still while the power is off", remedy}
	case s.Report.Clock.Synchronised == capabilities.No:
		return Finding{check, Warn, "it is not synchronised", remedy}
	case s.Report.Clock.Synchronised == "":
		return Finding{check, Warn, "whether it is synchronised is not known", remedy}
	}
	return Finding{check, OK, now + ", synchronised", ""}
}

func state(s Subject) Finding {
	const check = "state directory"
	if s.State != nil {
		return Finding{check, Fail, s.State.Error(), "run as the agent's user, or set state_dir to a folder that it may write to"}
	}
	return Finding{check, OK, s.Config.StateDir + " can be written", ""}
}

func disk(s Subject) Finding {
	const check = "disk"
	const least = 100_000_000 // the agent's own database and logs
	const comfortable = 1_000_000_000
	d := s.Report.Disk
	detail := fmt.Sprintf("%d MB free at %s", d.FreeBytes/1_000_000, d.Path)
	remedy := "make room, or put state_dir on a larger file system"
	reserve := s.Config.Reserve.DiskMB * 1_000_000
	switch {
	case d.TotalBytes == 0:
		return Finding{check, Fail, "its size is not known", "see the warnings of \"edgeagent capabilities\""}
	case d.FreeBytes < least:
		return Finding{check, Fail, detail, remedy}
	case d.FreeBytes < max(reserve, comfortable):
		return Finding{check, Warn, fmt.Sprintf("%s, of which %d MB are kept back: little or nothing is left for jobs", detail, reserve/1_000_000), remedy}
	}
	return Finding{check, OK, detail, ""}
}

// cgroups judges whether limits of jobs can be enforced.
func cgroups(r capabilities.Report) Finding {
	const check = "cgroups"
	if r.Cgroup.Version == 0 {
		return Finding{check, Warn, "none are mounted: limits of CPU and memory are not enforced", "mount cgroup2 at /sys/fs/cgroup; systemd does so"}
	}
	var missing []string
	for _, c := range []string{"cpu", "memory", "pids"} {
		if !slices.Contains(r.Cgroup.Controllers, c) {
			missing = append(missing, c)
		}
	}
	detail := fmt.Sprintf("version %d", r.Cgroup.Version)
	if len(missing) == 0 {
		return Finding{check, OK, detail, ""}
	}
	remedy := "use a kernel that has them"
	if slices.Contains(missing, "memory") {
		remedy = "add cgroup_enable=memory to the kernel's command line, and restart"
		if strings.HasPrefix(r.Board.ID, "raspberry") {
			remedy = "add cgroup_enable=memory cgroup_memory=1 to /boot/firmware/cmdline.txt (/boot/cmdline.txt before Debian 12), and restart"
		}
	}
	return Finding{check, Warn, detail + " without " + strings.Join(missing, ", ") + ": those limits are not enforced", remedy}
}

func permissions(s Subject) Finding {
	const check = "permissions"
	if !s.Root {
		return Finding{check, Warn, "not run as root: what only root sees or may do is missing here", "run the agent as root, or \"sudo edgeagent doctor\" for the whole picture"}
	}
	if s.Report.Container != "" {
		return Finding{check, Warn, "run in a container (" + s.Report.Container + "): devices and cgroups may be the container's", "run the agent on the host, or give the container what it needs"}
	}
	return Finding{check, OK, "root", ""}
}

// runtimes has a finding for each, and one more if jobs cannot run at all.
func runtimes(infos []drivers.Info) []Finding {
	var out []Finding
	usable := 0
	for _, i := range infos {
		if i.Usable {
			usable++
			out = append(out, Finding{"runtime " + i.Name, OK, strings.TrimSpace("usable " + i.Version), ""})
			continue
		}
		out = append(out, Finding{"runtime " + i.Name, Warn, i.Reason, i.Remedy})
	}
	if usable == 0 {
		out = append(out, Finding{"runtimes", Fail, "no runtime is usable: no job can run here", "set up at least one of those above"})
	}
	return out
}

func machine(r capabilities.Report) Finding {
	const check = "machine"
	if len(r.Warnings) > 0 {
		return Finding{check, Warn, strings.Join(r.Warnings, "; "), "look whether /proc and /sys are mounted and may be read"}
	}
	return Finding{check, OK, strings.TrimSpace(fmt.Sprintf("%s %d cores, %d MB", r.Machine, r.CPU.Cores, r.Memory.TotalBytes/1_000_000)), ""}
}
