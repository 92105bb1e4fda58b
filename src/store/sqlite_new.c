/* sqlite_new: the file of a new store, made in memory and written in one go. Made on the disk it would
 * take seven syncs, most of the time from start to ready. */
#include <errno.h>
#include <fcntl.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "store/sqlite_db.h"

/* https://www.sqlite.org/fileformat2.html#file_format_version_numbers: 2 asks for the write-ahead log. */
enum { WRITE_VERSION_AT = 18, READ_VERSION_AT = 19, VERSION_WAL = 2 };

static int write_file(const char *path, const unsigned char *data, size_t len, struct err *err)
{
    CLEANUP(closep) int fd = open(path, O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
    if (fd < 0)
        return err_errno(err, errno, "open '%s'", path);
    for (size_t done = 0; done < len;) {
        ssize_t n = pwrite(fd, data + done, len - done, (off_t)done);
        if (n < 0 && errno != EINTR)
            return err_errno(err, errno, "write '%s'", path);
        done += n > 0 ? (size_t)n : 0;
    }
    return 0;
}

int sqlite_write_new(const char *path, struct err *err)
{
    sqlite3 *db = NULL;
    sqlite3_int64 len = 0;
    unsigned char *image = NULL;
    int rc = sqlite3_open_v2(":memory:", &db, SQLITE_OPEN_READWRITE | SQLITE_OPEN_EXRESCODE, NULL);
    if (rc != SQLITE_OK)
        rc = sqlite_fail(db, rc, err, "open");
    else
        rc = sqlite_migrate(db, err);
    if (rc == 0 && !(image = sqlite3_serialize(db, "main", &len, 0)))
        rc = err_set(err, ERR_NOMEM, "out of memory");
    if (rc == 0) {
        image[WRITE_VERSION_AT] = image[READ_VERSION_AT] = VERSION_WAL;
        rc = write_file(path, image, (size_t)len, err);
    }
    sqlite3_free(image);
    sqlite_disconnect(db);
    return rc;
}
