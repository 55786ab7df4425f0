package policy

// Directives and fields that are named in more than one place.
const (
	maxAge       = "max-age"
	noStore      = "no-store"
	staleIfError = "stale-if-error"

	lastModified     = "Last-Modified"
	surrogateControl = "Surrogate-Control"
)
