package doctor

import (
	"context"
	"crypto/x509"
	"errors"
	"net"
	"strings"
	"testing"
	"time"

	"github.com/edgeio/edgeio/agent/config"
	"github.com/edgeio/edgeio/capabilities"
	"github.com/edgeio/edgeio/drivers"
	"github.com/edgeio/edgeio/proto/identity"
	"github.com/edgeio/edgeio/proto/identity/identitytest"
	"github.com/edgeio/edgeio/proto/link"
)

var now = time.Date(2026, 5, 1, 12, 0, 0, 0, time.UTC)

// healthy is a node that lacks nothing but a parent to ask.
func healthy() Subject {
	return Subject{
		Config: config.Default(), Now: now, Root: true,
		Leaf:    &x509.Certificate{NotBefore: now.Add(-time.Hour), NotAfter: now.Add(time.Hour)},
		Drivers: []drivers.Info{{Name: "docker", Usable: true, Version: "28.5"}, {Name: "native", Usable: true}},
		Report: capabilities.Report{
			Disk:   capabilities.Disk{Path: "/x", TotalBytes: 50e9, FreeBytes: 20e9},
			Cgroup: capabilities.Cgroup{Version: 2, Controllers: []string{"cpu", "memory", "pids"}},
			Clock:  capabilities.Clock{Synchronised: capabilities.Yes},
		},
	}
}

func TestHealthy(t *testing.T) {
	for _, f := range Examine(t.Context(), healthy()) {
		if want := map[bool]Level{true: Fail, false: OK}[f.Check == "parent"]; f.Level != want {
			t.Errorf("%+v, want %s", f, want)
		}
	}
}

func TestFindings(t *testing.T) {
	for name, c := range map[string]struct {
		harm   func(*Subject)
		check  string
		level  Level
		remedy string
	}{
		"not joined":       {func(s *Subject) { s.Leaf = nil }, "identity", Fail, "edgeagent join"},
		"expired":          {func(s *Subject) { s.Leaf.NotAfter = now.Add(-1) }, "identity", Fail, "--force"},
		"1970":             {func(s *Subject) { s.Now = time.Unix(0, 0); s.Leaf = nil }, "clock", Fail, "synchronisation"},
		"before issue":     {func(s *Subject) { s.Leaf.NotBefore = now.Add(time.Minute) }, "clock", Fail, "synchronisation"},
		"clock runs free":  {func(s *Subject) { s.Report.Clock.Synchronised = capabilities.No }, "clock", Warn, "chrony"},
		"clock unknown":    {func(s *Subject) { s.Report.Clock.Synchronised = "" }, "clock", Warn, "chrony"},
		"read-only":        {func(s *Subject) { s.State = errors.New("write to /x: read-only file system") }, "state directory", Fail, "state_dir"},
		"disk full":        {func(s *Subject) { s.Report.Disk.FreeBytes = 50e6 }, "disk", Fail, "make room"},
		"disk reserved":    {func(s *Subject) { s.Config.Reserve.DiskMB = 30_000 }, "disk", Warn, "make room"},
		"disk unknown":     {func(s *Subject) { s.Report.Disk = capabilities.Disk{} }, "disk", Fail, "capabilities"},
		"no cgroups":       {func(s *Subject) { s.Report.Cgroup = capabilities.Cgroup{} }, "cgroups", Warn, "mount"},
		"no memory cgroup": {func(s *Subject) { s.Report.Cgroup.Controllers = []string{"cpu", "pids"} }, "cgroups", Warn, "cgroup_enable=memory"},
		"no memory cgroup on a Pi": {func(s *Subject) {
			s.Report.Cgroup.Controllers, s.Report.Board.ID = []string{"cpu", "pids"}, "raspberry-pi-3"
		}, "cgroups", Warn, "cmdline.txt"},
		"not root":     {func(s *Subject) { s.Root = false }, "permissions", Warn, "sudo"},
		"in a box":     {func(s *Subject) { s.Report.Container = "lxc" }, "permissions", Warn, "host"},
		"no docker":    {func(s *Subject) { s.Drivers[0] = drivers.Info{Name: "docker", Reason: "down", Remedy: "start it"} }, "runtime docker", Warn, "start it"},
		"no runtimes":  {func(s *Subject) { s.Drivers = nil }, "runtimes", Fail, "set up"},
		"probe failed": {func(s *Subject) { s.Report.Warnings = []string{"cpu: gone"} }, "machine", Warn, "/proc"},
	} {
		s := healthy()
		c.harm(&s)
		found := false
		for _, f := range Examine(t.Context(), s) {
			if f.Check != c.check {
				continue
			}
			found = true
			if f.Level != c.level || f.Detail == "" || !strings.Contains(f.Remedy, c.remedy) {
				t.Errorf("%s: %+v, want %s with %q", name, f, c.level, c.remedy)
			}
		}
		if !found {
			t.Errorf("%s: there is no finding %q", name, c.check)
		}
	}
}

func TestWorst(t *testing.T) {
	for _, c := range []struct {
		levels []Level
		want   Level
	}{{nil, OK}, {[]Level{OK, Warn, OK}, Warn}, {[]Level{Fail, Warn}, Fail}, {[]Level{Warn, Fail, OK}, Fail}} {
		var all []Finding
		for _, l := range c.levels {
			all = append(all, Finding{Level: l})
		}
		if got := Worst(all); got != c.want {
			t.Errorf("%v: %s, want %s", c.levels, got, c.want)
		}
	}
}

// serve starts a parent whose authority is given, and returns its address.
func serve(t *testing.T, a *identitytest.Authority) string {
	t.Helper()
	l, err := link.Listen("127.0.0.1:0", link.Config{TLS: a.Enrol(t, identity.Cluster, "c", time.Now()).ServerTLS(identity.TLSOptions{})})
	if err != nil {
		t.Fatal(err)
	}
	done := make(chan struct{})
	go func() {
		defer close(done)
		for {
			if _, err := l.Accept(context.Background()); err != nil {
				return
			}
		}
	}()
	t.Cleanup(func() {
		if err := l.Close(); err != nil {
			t.Error(err)
		}
		<-done
	})
	return l.Addr().String()
}

func TestParents(t *testing.T) {
	ours, others := identitytest.NewAuthority(t, time.Now()), identitytest.NewAuthority(t, time.Now())
	node := ours.Enrol(t, identity.Node, "n", time.Now())
	good, foreign := serve(t, ours), serve(t, others)
	closed := freeUDP(t)
	for name, c := range map[string]struct {
		address string
		joined  bool
		level   Level
		text    string
	}{
		"good":              {good, true, OK, "answers in"},
		"not joined":        {good, false, OK, "answers; whether"},
		"foreign":           {foreign, true, Fail, "edgeagent join --force"},
		"nobody there":      {closed, true, Fail, "nobody listens"},
		"no such name":      {"no-such-host.invalid:7443", true, Fail, "cannot be resolved"},
		"not an address":    {"nowhere", true, Fail, "host:port"},
		"UDP does not pass": {deaf(t), true, Fail, "UDP to it is lost"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := Subject{TLS: identity.EnrolTLS(identity.Pin{}, identity.TLSOptions{})}
			if c.joined {
				s.Leaf, s.TLS = node.Leaf(), node.ClientTLS(identity.TLSOptions{})
			}
			f := parent(t.Context(), c.address, s)
			if f.Level != c.level || !strings.Contains(f.Detail+" "+f.Remedy, c.text) || (f.Remedy == "") != (f.Level == OK) {
				t.Errorf("%+v, want %s with %q", f, c.level, c.text)
			}
		})
	}
}

func freeUDP(t *testing.T) string {
	t.Helper()
	c, err := net.ListenPacket("udp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = c.Close() }()
	return c.LocalAddr().String()
}

// deaf returns an address that takes TCP, and lets UDP vanish.
func deaf(t *testing.T) string {
	t.Helper()
	tcp, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	udp, err := net.ListenPacket("udp", tcp.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _, _ = tcp.Close(), udp.Close() })
	return tcp.Addr().String()
}
