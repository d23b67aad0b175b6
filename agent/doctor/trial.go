package doctor

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/edgeio/edgeio/drivers"
)

// trialTimeout bounds all of a trial.
const trialTimeout = time.Minute

// ErrNoTrial says that a driver has no workload to be tried with.
var ErrNoTrial = errors.New("this driver cannot be tried without a job")

// Try takes a tiny workload through its whole life in a driver, and leaves
// nothing behind.
func Try(ctx context.Context, d drivers.Driver) (err error) {
	trier, ok := d.(drivers.Trier)
	if !ok {
		return ErrNoTrial
	}
	ctx, cancel := context.WithTimeout(ctx, trialTimeout)
	defer cancel()
	spec, cleanup, err := trier.Trial(ctx)
	if cleanup != nil {
		defer func() { err = errors.Join(err, cleanup(context.WithoutCancel(ctx))) }()
	}
	if err != nil {
		return err
	}
	spec.ID, spec.Generation, spec.Name = fmt.Sprintf("check-%d", time.Now().UnixNano()), 1, "edgeagent check"
	h, err := d.Create(ctx, spec, nil)
	if err != nil {
		return err
	}
	defer func() {
		after := context.WithoutCancel(ctx)
		err = errors.Join(err, d.Stop(after, h, drivers.StopOptions{}), d.Remove(after, h))
	}()
	if err := d.Start(ctx, h); err != nil {
		return err
	}
	exit, err := d.Wait(ctx, h)
	if err != nil {
		return err
	}
	if exit.Code != 0 {
		return fmt.Errorf("the trial ended with exit code %d %s", exit.Code, exit.Reason)
	}
	return nil
}
