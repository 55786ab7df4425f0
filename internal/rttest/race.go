package rttest

import (
	"runtime/debug"
	"slices"
)

// UnderRace reports whether the tests run under the race detector. It makes all take several
// times as long, and so is nobody's clock.
func UnderRace() bool {
	info, ok := debug.ReadBuildInfo()
	return ok && slices.Contains(info.Settings, debug.BuildSetting{Key: "-race", Value: "true"})
}
