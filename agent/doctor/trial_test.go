package doctor

import (
	"context"
	"errors"
	"testing"

	"github.com/edgeio/edgeio/drivers"
	"github.com/edgeio/edgeio/drivers/fake"
)

// trier makes a fake driver one that can be tried.
type trier struct {
	drivers.Driver
	cleaned int
}

func (d *trier) Trial(context.Context) (drivers.Spec, func(context.Context) error, error) {
	spec := drivers.Spec{Image: drivers.Image{Reference: "trial"}}
	return spec, func(context.Context) error { d.cleaned++; return nil }, nil
}

func TestTry(t *testing.T) {
	for _, code := range []int{0, 7} {
		host := fake.NewHost(func(drivers.Spec) fake.Script { return fake.Script{Code: code} })
		d := &trier{Driver: fake.New(host)}
		if err := Try(t.Context(), d); (err == nil) != (code == 0) {
			t.Errorf("a trial that ends with %d: %v", code, err)
		}
		if left, err := d.List(t.Context()); err != nil || len(left) != 0 || d.cleaned != 1 {
			t.Errorf("left behind: %v, %v; cleaned up %d times", left, err, d.cleaned)
		}
	}
}

func TestTryOfAStartThatFails(t *testing.T) {
	host := fake.NewHost(nil)
	host.Inject(fake.OpStart, fake.Fault{Err: errors.New("no")})
	d := &trier{Driver: fake.New(host)}
	if err := Try(t.Context(), d); err == nil {
		t.Error("a trial that did not start is ok")
	}
	host.Clear(fake.OpStart)
	if left, err := d.List(t.Context()); err != nil || len(left) != 0 || d.cleaned != 1 {
		t.Errorf("left behind: %v, %v; cleaned up %d times", left, err, d.cleaned)
	}
}

func TestTryOfADriverWithoutATrial(t *testing.T) {
	if err := Try(t.Context(), fake.New(fake.NewHost(nil))); !errors.Is(err, ErrNoTrial) {
		t.Errorf("%v, want ErrNoTrial", err)
	}
}
