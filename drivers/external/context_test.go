package external

import (
	"context"
	"errors"
	"net"
	"path/filepath"
	"testing"
	"time"

	"github.com/edgeio/edgeio/drivers"
	"github.com/edgeio/edgeio/drivers/fake"
)

// clocked tells the deadline that its Status is called with.
type clocked struct {
	*fake.Driver
	deadline chan time.Time
}

func (c clocked) Status(ctx context.Context, h drivers.Handle) (drivers.Status, error) {
	deadline, _ := ctx.Deadline()
	c.deadline <- deadline
	return c.Driver.Status(ctx, h)
}

func TestDeadlineTravels(t *testing.T) {
	d := clocked{fake.New(fake.NewHost(nil)), make(chan time.Time, 1)}
	h, err := d.Create(t.Context(), drivers.Spec{ID: "a", Generation: 1}, nil)
	if err != nil {
		t.Fatal(err)
	}
	c := &client{suspect: func() {}, dial: dialer(serveHere(t, d))}
	if _, err := c.Status(t.Context(), h); err != nil {
		t.Fatal(err)
	}
	if got := <-d.deadline; !got.IsZero() {
		t.Errorf("a call without a deadline has one on the other side: %v", got)
	}
	want := time.Now().Add(time.Hour)
	ctx, cancel := context.WithDeadline(t.Context(), want)
	defer cancel()
	if _, err := c.Status(ctx, h); err != nil {
		t.Fatal(err)
	}
	if got := <-d.deadline; got.Sub(want).Abs() > 10*time.Second {
		t.Errorf("deadline %v on the other side, want %v", got, want)
	}
}

// TestCancelTravels cancels a Create that would take long: its answer, and not
// the end of the grace time, is what ends it.
func TestCancelTravels(t *testing.T) {
	host := fake.NewHost(nil)
	c := &client{suspect: func() { t.Error("the driver is suspected although it has answered") }, dial: dialer(serveHere(t, fake.New(host)))}
	host.Inject(fake.OpCreate, fake.Fault{Delay: time.Hour})
	ctx, cancel := context.WithCancel(t.Context())
	begun := time.Now()
	_, err := c.Create(ctx, drivers.Spec{ID: "a", Generation: 1}, func(drivers.Progress) { cancel() })
	if !errors.Is(err, context.Canceled) || !errors.Is(err, drivers.ErrUnavailable) {
		t.Errorf("Create: %v, want context.Canceled and ErrUnavailable", err)
	}
	if took := time.Since(begun); took > cancelGrace {
		t.Errorf("Create took %v: it was not told", took)
	}
}

// stubborn does not obey its context.
type stubborn struct {
	*fake.Driver
	begun, over chan struct{}
}

func (s stubborn) Start(context.Context, drivers.Handle) error {
	close(s.begun)
	<-s.over
	return nil
}

// TestStubbornDriver must not keep a program alive whose agent is gone.
func TestStubbornDriver(t *testing.T) {
	if testing.Short() {
		t.Skip("waits for a timeout")
	}
	d := stubborn{fake.New(fake.NewHost(nil)), make(chan struct{}), make(chan struct{})}
	socket := filepath.Join(t.TempDir(), "s")
	l, err := net.Listen("unix", socket)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	served := make(chan error, 1)
	go func() { served <- serve(ctx, d, l) }()
	called := make(chan error, 1)
	c := &client{suspect: func() {}, dial: dialer(socket)}
	go func() { called <- c.Start(t.Context(), drivers.Handle{}) }()
	<-d.begun
	cancel()
	select {
	case err := <-served:
		if err == nil {
			t.Error("serve says that all is well")
		}
	case <-time.After(stopTimeout):
		t.Error("serve waits for a call that does not end")
	}
	close(d.over)
	<-called
}
