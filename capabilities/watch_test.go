package capabilities

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"testing"
	"testing/synctest"
	"time"
)

// watched runs Watch on a host until the test ends, and returns what it calls.
func watched(t *testing.T, h Host) <-chan struct{} {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	calls, done := make(chan struct{}, 16), make(chan error, 1)
	go func() { done <- Watch(ctx, h, func() { calls <- struct{}{} }) }()
	t.Cleanup(func() {
		cancel()
		if err := <-done; err != nil {
			t.Errorf("Watch: %v", err)
		}
	})
	return calls
}

// prod does something again and again until it is noticed: the watch begins
// at a time of its own.
func prod(t *testing.T, calls <-chan struct{}, do func()) {
	t.Helper()
	tick := time.NewTicker(700 * time.Millisecond)
	defer tick.Stop()
	deadline := time.After(20 * time.Second)
	for {
		do()
		select {
		case <-calls:
			return
		case <-deadline:
			t.Fatal("nothing was noticed")
		case <-tick.C:
		}
	}
}

func TestWatchPlugged(t *testing.T) {
	h := host(t, "udoo-x86")
	before := Discover(t.Context(), h)
	calls := watched(t, h)
	stick := filepath.Join(h.Root, "sys/bus/usb/devices/3-1")
	n := 0
	prod(t, calls, func() {
		n++
		_ = os.RemoveAll(stick)
		for name, content := range map[string]string{"idVendor": "03e7", "idProduct": "2485", "busnum": "3", "devnum": "1"} {
			if err := errors.Join(os.MkdirAll(stick, 0o755), os.WriteFile(filepath.Join(stick, name), []byte(content+"\n"), 0o644)); err != nil {
				t.Fatal(err)
			}
		}
	})
	after := Discover(t.Context(), h)
	if !Changed(before, after) || Labels(after)["edgeio.dev/vpu-count"] != "2" {
		t.Errorf("after a second stick: labels %v", Labels(after))
	}
	if err := os.RemoveAll(stick); err != nil {
		t.Fatal(err)
	}
	<-calls
	if again := Discover(t.Context(), h); Changed(before, again) {
		t.Error("with the stick gone the report is not as it was")
	}
}

func TestWatchWithoutFolders(t *testing.T) {
	if err := Watch(t.Context(), Host{Root: t.TempDir()}, func() {}); err == nil {
		t.Error("a root without folders can be watched")
	}
}

// The kernel sends the events that it is asked for, as for a real device.
func TestWatchKernelEvents(t *testing.T) {
	const ask = "/sys/class/tty/tty1/uevent"
	if err := os.WriteFile(ask, []byte("add"), 0o200); err != nil {
		t.Skipf("the kernel makes no events for us: %v", err)
	}
	source, err := openUevents()
	if err != nil {
		t.Skipf("no events in this namespace: %v", err)
	}
	if err := source.Close(); err != nil {
		t.Fatal(err)
	}
	calls := watched(t, Host{})
	prod(t, calls, func() {
		if err := os.WriteFile(ask, []byte("add"), 0o200); err != nil {
			t.Fatal(err)
		}
	})
}

func TestEventsArePutTogether(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithCancel(t.Context())
		events, done := make(chan struct{}, 1), make(chan error)
		began := time.Now()
		var calls []time.Duration
		go func() {
			done <- settleEvents(ctx, events, nil, func() { calls = append(calls, time.Since(began)) })
		}()
		for range 30 { // three seconds without rest
			events <- struct{}{}
			time.Sleep(100 * time.Millisecond) // of the test's own clock
		}
		time.Sleep(time.Second)
		synctest.Wait()
		cancel()
		if err := <-done; err != nil {
			t.Error(err)
		}
		if len(calls) != 2 || calls[0] > watchLongest+100*time.Millisecond || calls[1] != 29*100*time.Millisecond+watchQuiet {
			t.Errorf("calls at %v, want one at the longest, one after the last", calls)
		}
	})
}

func TestIsDeviceEvent(t *testing.T) {
	for message, want := range map[string]bool{
		"add@/devices/usb1/1-1\x00ACTION=add\x00SUBSYSTEM=usb\x00": true,
		"remove@/devices/usb1/1-1\x00SUBSYSTEM=video4linux\x00":    true,
		"change@/devices/card0\x00SUBSYSTEM=drm\x00":               false,
		"add@/kernel/slab/x\x00SUBSYSTEM=slab\x00":                 false,
		"libudev\x00": false, "": false, "add@/x": false, "\xff\x00\x00": false,
	} {
		if got := isDeviceEvent([]byte(message)); got != want {
			t.Errorf("%q: %v, want %v", message, got, want)
		}
	}
}

func FuzzDeviceEvent(f *testing.F) {
	f.Add([]byte("add@/devices/usb1/1-1\x00ACTION=add\x00SUBSYSTEM=usb\x00"))
	f.Fuzz(func(_ *testing.T, message []byte) { isDeviceEvent(message) })
}
