package guest_test

import (
	"bytes"
	"context"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/edgeio/edgeio/drivers/drivertest"
	"github.com/edgeio/edgeio/drivers/mirage/solo5"
	"github.com/edgeio/edgeio/drivers/mirage/solo5/guest"
)

func TestImagesAreSound(t *testing.T) {
	devices := []solo5.Device{{Name: "service0", Type: solo5.Net}, {Name: "storage", Type: solo5.Block}}
	for _, tt := range []struct {
		name  string
		image []byte
		want  solo5.Image
	}{
		{"hvt", guest.HVT(nil, guest.Print("x")), solo5.Image{Target: solo5.HVT, ABIVersion: 2, Devices: []solo5.Device{}}},
		{"hvt with devices", guest.HVT(devices, guest.EchoNet("service0"), guest.WriteBlock("storage", 0, "x")), solo5.Image{Target: solo5.HVT, ABIVersion: 2, Devices: devices}},
		{"virtio", guest.Virtio(guest.Print("x"), guest.Sleep(time.Second)), solo5.Image{Target: solo5.Virtio, ABIVersion: 1, Devices: []solo5.Device{}}},
	} {
		got, err := solo5.Inspect(bytes.NewReader(tt.image), int64(len(tt.image)))
		if err != nil {
			t.Errorf("%s: %v", tt.name, err)
		}
		got.Entry, got.EndBytes, got.Segments = 0, 0, nil
		tt.want.Arch = "amd64"
		if d := cmp.Diff(tt.want, got); d != "" {
			t.Errorf("%s: %s", tt.name, d)
		}
	}
}

// TestVirtio runs guests on an emulated processor, hence without /dev/kvm.
func TestVirtio(t *testing.T) {
	qemu, err := exec.LookPath("qemu-system-x86_64")
	drivertest.Require(t, "qemu", err == nil, "qemu-system-x86_64 is not installed (Debian: qemu-system-x86)")
	for _, tt := range []struct {
		name  string
		image []byte
		want  string
		ends  bool
		code  int
	}{
		{"print and exit", guest.Virtio(guest.Print("hello\n"), guest.Exit(3)), "hello\nSolo5: solo5_exit(3) called\n", true, 83},
		{"command line", guest.Virtio(guest.PrintCommandLine(), guest.Abort()), "--one two\nSolo5: solo5_abort() called\n", true, 83},
		{"sleep", guest.Virtio(guest.Print("a"), guest.Sleep(100*time.Millisecond), guest.Print("b\n")), "ab\nSolo5: solo5_exit(0) called\n", true, 83},
		{"sleep forever", guest.Virtio(guest.Print("up\n"), guest.SleepForever()), "up\n", false, 0},
		{"loop", guest.Virtio(guest.Print("up\n"), guest.Loop(guest.Sleep(time.Hour))), "up\n", false, 0},
		{"crash", guest.Virtio(guest.Print("up\n"), guest.Crash()), "up\n", true, 0},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			path := filepath.Join(t.TempDir(), "image")
			if err := os.WriteFile(path, tt.image, 0o600); err != nil {
				t.Fatal(err)
			}
			ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
			defer cancel()
			cmd := exec.CommandContext(ctx, qemu, "-accel", "tcg", "-cpu", "Westmere", "-m", "16", "-nodefaults", "-no-reboot",
				"-machine", "acpi=off", "-display", "none", "-serial", "stdio", "-device", "isa-debug-exit", "-kernel", path, "-append", "--one two\n")
			var stderr bytes.Buffer
			cmd.Stderr = &stderr
			out, err := cmd.StdoutPipe()
			if err != nil {
				t.Fatal(err)
			}
			if err := cmd.Start(); err != nil {
				t.Fatal(err)
			}
			got := make([]byte, len(tt.want))
			for n := 0; n < len(got); {
				k, err := out.Read(got[n:])
				if n += k; err != nil {
					got = got[:n]
				}
			}
			if string(got) != tt.want {
				t.Errorf("prints %q, want %q; stderr: %s", got, tt.want, stderr.String())
			}
			if !tt.ends {
				cancel()
			}
			if err = cmd.Wait(); !tt.ends {
				return
			}
			if code := cmd.ProcessState.ExitCode(); code != tt.code {
				t.Errorf("ends with %v, want status %d", err, tt.code)
			}
		})
	}
}
