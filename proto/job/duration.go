package job

import (
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"time"
)

// Duration is a time.Duration written as "1m30s", or as a number of seconds.
type Duration time.Duration

// MarshalJSON writes the form "1m30s".
func (d Duration) MarshalJSON() ([]byte, error) {
	return json.Marshal(time.Duration(d).String())
}

// UnmarshalJSON accepts both forms.
func (d *Duration) UnmarshalJSON(b []byte) error {
	var v any
	if err := json.Unmarshal(b, &v); err != nil {
		return err
	}
	var err error
	switch v := v.(type) {
	case float64:
		*d, err = seconds(v)
	case string:
		*d, err = parseDuration(v)
	default:
		err = errDuration
	}
	if err != nil {
		return fmt.Errorf("duration %.40s: %w", b, err)
	}
	return nil
}

var errDuration = errors.New("want something like 10s or 1m30s, or a number of seconds")

// seconds refuses what does not fit, rather than let it wrap around.
func seconds(s float64) (Duration, error) {
	ns := s * float64(time.Second)
	if !(math.Abs(ns) < math.MaxInt64) {
		return 0, errDuration
	}
	return Duration(ns), nil
}

func parseDuration(s string) (Duration, error) {
	t, err := time.ParseDuration(s)
	if err != nil {
		return 0, errDuration
	}
	return Duration(t), nil
}
