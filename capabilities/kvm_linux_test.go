//go:build amd64 || arm64

package capabilities

import (
	"context"
	"os"
	"slices"
	"strings"
	"testing"
	"time"
)

// needKVM skips where there is none, unless it is required.
func needKVM(t *testing.T) {
	t.Helper()
	if err := runTinyVM(t.Context()); err != nil {
		if slices.Contains(strings.Split(os.Getenv("EDGEIO_REQUIRE"), ","), "kvm") {
			t.Fatalf("KVM is required: %v", err)
		}
		t.Skipf("no KVM: %v", err)
	}
}

func TestKVMWorksOrSaysWhyNot(t *testing.T) {
	k := tryKVM(t.Context())
	if k.Works == Yes && k.Reason != "" || k.Works == No && k.Reason == "" || k.Works == "" {
		t.Errorf("%+v", k)
	}
}

// A guest that never leaves must not keep a thread for good.
func TestEndlessGuestIsStopped(t *testing.T) {
	needKVM(t)
	for range 3 {
		ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
		began := time.Now()
		err := runVM(ctx, endlessCode)
		cancel()
		if err == nil || time.Since(began) > 5*time.Second {
			t.Fatalf("after %s: %v, want an error soon after 50ms", time.Since(began), err)
		}
	}
}

// A processor without instructions ends otherwise than it was told to.
func TestSilentGuestIsNoSuccess(t *testing.T) {
	needKVM(t)
	ctx, cancel := context.WithTimeout(t.Context(), 200*time.Millisecond)
	defer cancel()
	if err := runVM(ctx, silentCode); err == nil {
		t.Error("a guest that says nothing counts as success")
	}
}
