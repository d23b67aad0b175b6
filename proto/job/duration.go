package job

import (
	"encoding/json"
	"fmt"
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
	switch v := v.(type) {
	case float64:
		*d = Duration(v * float64(time.Second))
		return nil
	case string:
		t, err := time.ParseDuration(v)
		if err != nil {
			return fmt.Errorf("duration %q: want something like 10s or 1m30s", v)
		}
		*d = Duration(t)
		return nil
	}
	return fmt.Errorf("duration: want something like 10s or 1m30s, or a number of seconds")
}
