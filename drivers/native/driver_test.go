package native

import (
	"fmt"
	"log/slog"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"testing"

	"github.com/edgeio/edgeio/drivers"
	"github.com/edgeio/edgeio/drivers/drivertest"
	"github.com/edgeio/edgeio/drivers/internal/cgroup"
)

// listenEnv makes this test program a workload that listens on a port.
const listenEnv = "EDGEIO_TEST_LISTEN"

func TestMain(m *testing.M) {
	if port := os.Getenv(listenEnv); port != "" {
		listen(port)
	}
	if dir := os.Getenv(agentEnv); dir != "" {
		beAgent(dir)
	}
	os.Exit(testMain(m))
}

func testMain(m *testing.M) int {
	dir, err := os.MkdirTemp("", "edgeio-native-test-")
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	defer os.RemoveAll(dir)
	defer removeCgroups()
	shimPath = filepath.Join(dir, "edgeshim")
	build := exec.Command("go", "build", "-trimpath", "-ldflags=-s -w", "-o", shimPath, "../cmd/edgeshim")
	build.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := build.CombinedOutput(); err != nil {
		fmt.Fprintf(os.Stderr, "build edgeshim: %v\n%s", err, out)
		return 1
	}
	return m.Run()
}

func listen(port string) {
	l, err := net.Listen("tcp", "127.0.0.1:"+port)
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	fmt.Println("ready")
	for {
		c, err := l.Accept()
		if err != nil {
			os.Exit(1)
		}
		fmt.Fprintln(c, "hello")
		c.Close()
	}
}

func discard() *slog.Logger { return slog.New(slog.DiscardHandler) }

// shimPath is where TestMain has built edgeshim.
var shimPath string

// cgroupParent is for this process alone, so that what another one has left
// behind is nobody's fault here.
var cgroupParent = fmt.Sprintf("edgeio-test-native-%d", os.Getpid())

// removeCgroups takes the empty parents away.
func removeCgroups() {
	for _, pattern := range []string{cgroupParent, "*/" + cgroupParent} {
		groups, _ := filepath.Glob(filepath.Join(cgroup.DefaultRoot, pattern))
		for _, g := range groups {
			_ = os.Remove(g)
		}
	}
}

func newDriver(t testing.TB, cfg Config) *Driver {
	t.Helper()
	cfg.ShimPath = shimPath
	if cfg.CgroupParent == "" {
		cfg.CgroupParent = cgroupParent
	}
	d, err := New(cfg, slog.New(slog.NewTextHandler(t.Output(), nil)))
	if err != nil {
		t.Fatal(err)
	}
	return d
}

func TestConformance(t *testing.T) {
	probe := newDriver(t, Config{Dir: t.TempDir()})
	info := probe.Probe(t.Context())
	drivertest.Require(t, name, info.Usable, info.Reason)
	drivertest.Run(t, drivertest.Harness{
		Open: func(t testing.TB, dir string) drivers.Driver {
			return newDriver(t, Config{Dir: filepath.Join(dir, "native"), DefaultUser: "root"})
		},
		Spec:      spec,
		Features:  info.Features,
		BadImages: badImages,
		Residue:   residue,
	})
}

func spec(t testing.TB, w drivertest.Workload) drivers.Spec {
	if w.Kind == drivertest.Listen {
		self, err := os.Executable()
		if err != nil {
			t.Fatal(err)
		}
		command := fmt.Sprintf("%s=%d exec %s", listenEnv, w.N, self)
		return drivers.Spec{Image: drivers.Image{Path: self}, Command: []string{"/bin/sh", "-c", command}}
	}
	command, args := w.Shell()
	return drivers.Spec{Image: drivers.Image{Path: "/bin/sh"}, Command: command, Args: args}
}

var badImages = map[string]func(testing.TB) drivers.Spec{
	"missing":        func(testing.TB) drivers.Spec { return image("/nonexistent/program") },
	"text":           func(t testing.TB) drivers.Spec { return image(program(t, "just some text\n", 0o755)) },
	"not executable": func(t testing.TB) drivers.Spec { return image(program(t, "#!/bin/sh\n", 0o644)) },
	"no interpreter": func(t testing.TB) drivers.Spec { return image(program(t, "#!/nonexistent/sh\n", 0o755)) },
	"other machine": func(t testing.TB) drivers.Spec {
		b, err := os.ReadFile("/bin/true")
		if err != nil {
			t.Fatal(err)
		}
		b[18], b[19] = 0x2a, 0 // e_machine: SuperH
		return image(program(t, string(b), 0o755))
	},
	"command not in folder": func(t testing.TB) drivers.Spec {
		return drivers.Spec{Image: drivers.Image{Path: t.TempDir()}, Command: []string{"./missing"}}
	},
	"command outside folder": func(t testing.TB) drivers.Spec {
		return drivers.Spec{Image: drivers.Image{Path: t.TempDir()}, Command: []string{"../../../bin/sh"}}
	},
}

func image(path string) drivers.Spec { return drivers.Spec{Image: drivers.Image{Path: path}} }

func program(t testing.TB, content string, mode os.FileMode) string {
	path := filepath.Join(t.TempDir(), "program")
	if err := os.WriteFile(path, []byte(content), mode); err != nil {
		t.Fatal(err)
	}
	return path
}

// residue finds edgeshims of this test and control groups.
func residue() []string {
	var left []string
	procs, _ := filepath.Glob("/proc/[0-9]*/exe")
	for _, p := range procs {
		if target, err := os.Readlink(p); err == nil && target == shimPath {
			left = append(left, filepath.Dir(p))
		}
	}
	for _, pattern := range []string{cgroupParent + "/*", "*/" + cgroupParent + "/*"} {
		groups, _ := filepath.Glob(filepath.Join(cgroup.DefaultRoot, pattern))
		for _, g := range groups {
			if info, err := os.Stat(g); err == nil && info.IsDir() {
				left = append(left, g)
			}
		}
	}
	return left
}
