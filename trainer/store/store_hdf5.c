/* The store in HDF5 (serial library, file format of version 1.8, so that every reader opens it).
 *
 * Only whole chunks of 65,536 elements are written while the file grows: rewriting a part of a
 * compressed chunk frees its old place, which a kill turns into an unreadable array.  The rest is
 * written at close.  Arrays are shuffled and deflated with level 1, the cheapest that gains.
 * Attributes are fixed-length UTF-8 strings.  No times are stored, so equal contents are equal
 * files.
 *
 * On file systems without locks (some NFS and Lustre mounts) the library refuses to open files; the
 * environment variable HDF5_USE_FILE_LOCKING=FALSE allows it, and no file here has two writers. */
#include "store.h"

#include <hdf5.h>

#include <stdlib.h>
#include <string.h>

struct hdf5 {
    hid_t file;
};

/* ---- errors -------------------------------------------------------------- */

struct reason {
    char text[256];
};

static herr_t note_reason(unsigned n, const H5E_error2_t *error, void *data)
{
    struct reason *reason = data;
    if (n == 0 && error->desc)
        strncpy(reason->text, error->desc, sizeof reason->text - 1); /* the innermost call */
    return 0;
}

/* Fails with the innermost description of the library's error stack. */
static enum cn_status library_error(enum cn_status code, const char *what, const char *path)
{
    struct reason reason = {{0}};
    H5Ewalk2(H5E_DEFAULT, H5E_WALK_UPWARD, note_reason, &reason);
    H5Eclear2(H5E_DEFAULT);
    return cn_fail(code, "cannot %s %s: %s", what, path,
                   reason.text[0] ? reason.text : "HDF5 gives no reason");
}

/* The library prints nothing by itself and leaves the end of the process to us. */
static void calm_library(void)
{
    H5dont_atexit(); /* has an effect before the first other call only */
    H5open();
    H5Eset_auto2(H5E_DEFAULT, NULL, NULL);
}

/* ---- types --------------------------------------------------------------- */

static hid_t native_type(enum cn_dtype dtype)
{
    switch (dtype) {
    case CN_DTYPE_F32:
        return H5T_NATIVE_FLOAT;
    case CN_DTYPE_F64:
        return H5T_NATIVE_DOUBLE;
    case CN_DTYPE_I64:
        return H5T_NATIVE_INT64;
    case CN_DTYPE_I32:
        return H5T_NATIVE_INT32;
    case CN_DTYPE_I16:
        return H5T_NATIVE_INT16;
    case CN_DTYPE_I8:
        return H5T_NATIVE_INT8;
    case CN_DTYPE_U64:
        return H5T_NATIVE_UINT64;
    case CN_DTYPE_U32:
        return H5T_NATIVE_UINT32;
    case CN_DTYPE_U16:
        return H5T_NATIVE_UINT16;
    default:
        return H5T_NATIVE_UINT8;
    }
}

/* Little-endian on every machine. */
static hid_t disk_type(enum cn_dtype dtype)
{
    switch (dtype) {
    case CN_DTYPE_F32:
        return H5T_IEEE_F32LE;
    case CN_DTYPE_F64:
        return H5T_IEEE_F64LE;
    case CN_DTYPE_I64:
        return H5T_STD_I64LE;
    case CN_DTYPE_I32:
        return H5T_STD_I32LE;
    case CN_DTYPE_I16:
        return H5T_STD_I16LE;
    case CN_DTYPE_I8:
        return H5T_STD_I8LE;
    case CN_DTYPE_U64:
        return H5T_STD_U64LE;
    case CN_DTYPE_U32:
        return H5T_STD_U32LE;
    case CN_DTYPE_U16:
        return H5T_STD_U16LE;
    default:
        return H5T_STD_U8LE;
    }
}

/* Our type of a file's type, from class, size and sign; CN_DTYPE_COUNT if there is none. */
static enum cn_dtype dtype_of(hid_t type)
{
    static const enum cn_dtype with_sign[] = {
        [1] = CN_DTYPE_I8, [2] = CN_DTYPE_I16, [4] = CN_DTYPE_I32, [8] = CN_DTYPE_I64};
    static const enum cn_dtype without[] = {
        [1] = CN_DTYPE_U8, [2] = CN_DTYPE_U16, [4] = CN_DTYPE_U32, [8] = CN_DTYPE_U64};
    size_t size = H5Tget_size(type);
    H5T_class_t class = H5Tget_class(type);
    if (class == H5T_FLOAT)
        return size == 4 ? CN_DTYPE_F32 : size == 8 ? CN_DTYPE_F64 : CN_DTYPE_COUNT;
    bool known = class == H5T_INTEGER && (size == 1 || size == 2 || size == 4 || size == 8);
    if (!known) return CN_DTYPE_COUNT;
    return H5Tget_sign(type) == H5T_SGN_NONE ? without[size] : with_sign[size];
}

/* ---- writing ------------------------------------------------------------- */

static enum cn_status hdf5_create(struct cn_store *store)
{
    calm_library();
    struct hdf5 *hdf5 = calloc(1, sizeof *hdf5);
    if (!hdf5) return cn_fail(CN_ERR_MEMORY, "out of memory: store");
    hid_t access = H5Pcreate(H5P_FILE_ACCESS);
    H5Pset_fclose_degree(access, H5F_CLOSE_STRONG);
    hdf5->file = H5Fcreate(store->temporary, H5F_ACC_TRUNC, H5P_DEFAULT, access);
    H5Pclose(access);
    if (hdf5->file < 0) {
        free(hdf5);
        return library_error(CN_ERR_IO, "create", store->temporary);
    }
    store->self = hdf5;
    return CN_OK;
}

/* Creates the array of a series; `chunk_rows` at most STORE_CHUNK elements. */
static hid_t create_array(const struct hdf5 *hdf5, const struct store_series *series,
                          size_t chunk_rows)
{
    hsize_t size[CN_TENSOR_RANK_MAX], limit[CN_TENSOR_RANK_MAX], chunk[CN_TENSOR_RANK_MAX];
    for (int i = 0; i < series->rank; i++)
        size[i] = limit[i] = chunk[i] = (hsize_t)series->shape[i];
    size[0] = 0;
    limit[0] = H5S_UNLIMITED;
    chunk[0] = chunk_rows;
    hid_t space = H5Screate_simple(series->rank, size, limit);
    hid_t creation = H5Pcreate(H5P_DATASET_CREATE), link = H5Pcreate(H5P_LINK_CREATE);
    H5Pset_chunk(creation, series->rank, chunk);
    H5Pset_shuffle(creation);
    H5Pset_deflate(creation, 1);
    H5Pset_obj_track_times(creation, false);
    H5Pset_create_intermediate_group(link, 1);
    hid_t array = H5Dcreate2(hdf5->file, series->name, disk_type(series->dtype), space, link,
                             creation, H5P_DEFAULT);
    H5Sclose(space);
    H5Pclose(creation);
    H5Pclose(link);
    return array;
}

static enum cn_status hdf5_write(struct cn_store *store, struct store_series *series, size_t rows)
{
    const struct hdf5 *hdf5 = store->self;
    size_t chunk = STORE_CHUNK / series->row_elements ? STORE_CHUNK / series->row_elements : 1;
    if (!series->handle) {
        hid_t array = create_array(hdf5, series, rows >= chunk ? chunk : rows ? rows : 1);
        if (array < 0) return library_error(CN_ERR_IO, "write", store->temporary);
        series->handle = array;
    }
    if (!rows) return CN_OK;
    hsize_t size[CN_TENSOR_RANK_MAX], begin[CN_TENSOR_RANK_MAX] = {0}, count[CN_TENSOR_RANK_MAX];
    for (int i = 0; i < series->rank; i++)
        size[i] = count[i] = (hsize_t)series->shape[i];
    begin[0] = series->rows - series->pending_rows;
    count[0] = rows;
    size[0] = begin[0] + rows;
    bool good = H5Dset_extent(series->handle, size) >= 0;
    hid_t in_memory = H5Screate_simple(series->rank, count, NULL),
          in_file = H5Dget_space(series->handle);
    good = good && in_file >= 0 &&
           H5Sselect_hyperslab(in_file, H5S_SELECT_SET, begin, NULL, count, NULL) >= 0 &&
           H5Dwrite(series->handle, native_type(series->dtype), in_memory, in_file, H5P_DEFAULT,
                    series->pending) >= 0;
    if (!good) library_error(CN_ERR_IO, "write", store->temporary);
    if (in_memory >= 0) H5Sclose(in_memory);
    if (in_file >= 0) H5Sclose(in_file);
    return good ? CN_OK : CN_ERR_IO;
}

static enum cn_status write_attribute(struct cn_store *store,
                                      const struct store_attribute *attribute)
{
    const struct hdf5 *hdf5 = store->self;
    size_t length = strlen(attribute->value);
    hid_t type = H5Tcopy(H5T_C_S1), space = H5Screate(H5S_SCALAR);
    H5Tset_size(type, length ? length : 1);
    H5Tset_cset(type, H5T_CSET_UTF8);
    H5Tset_strpad(type, H5T_STR_NULLPAD);
    hid_t object = H5Oopen(hdf5->file, attribute->name, H5P_DEFAULT);
    hid_t written =
        object < 0 ? -1 : H5Acreate2(object, attribute->key, type, space, H5P_DEFAULT, H5P_DEFAULT);
    bool good = written >= 0 && H5Awrite(written, type, attribute->value) >= 0;
    if (!good) library_error(CN_ERR_IO, "write an attribute of", store->temporary);
    if (written >= 0) H5Aclose(written);
    if (object >= 0) H5Oclose(object);
    H5Sclose(space);
    H5Tclose(type);
    return good ? CN_OK : CN_ERR_IO;
}

static enum cn_status hdf5_finish(struct cn_store *store)
{
    for (size_t i = 0; i < store->n_series; i++) {
        struct store_series *series = &store->series[i];
        if (series->pending_rows || !series->handle)
            CN_TRY(hdf5_write(store, series, series->pending_rows));
    }
    for (size_t i = 0; i < store->n_attributes; i++)
        CN_TRY(write_attribute(store, &store->attributes[i]));
    return CN_OK;
}

/* ---- reading ------------------------------------------------------------- */

/* Adds one array of the file; called for every object. */
static herr_t visit(hid_t file, const char *name, const H5O_info_t *info, void *data)
{
    struct cn_store *store = data;
    if (info->type != H5O_TYPE_DATASET) return 0;
    struct cn_str path = {NULL, 0, 0};
    hid_t array = H5Dopen2(file, name, H5P_DEFAULT), space = array < 0 ? -1 : H5Dget_space(array);
    hid_t type = array < 0 ? -1 : H5Dget_type(array);
    hsize_t size[CN_TENSOR_RANK_MAX] = {0};
    struct cn_buffer like = {.device = -1};
    struct store_series *series;
    int rank = space < 0 ? 0 : H5Sget_simple_extent_ndims(space);
    herr_t result = -1;
    enum cn_dtype dtype = type < 0 ? CN_DTYPE_COUNT : dtype_of(type);
    if (rank < 1 || rank > CN_TENSOR_RANK_MAX || dtype == CN_DTYPE_COUNT) {
        result = 0; /* somebody else's array, of a kind that this interface does not show */
    } else if (cn_str_format(&path, "/%s", name) == CN_OK &&
               H5Sget_simple_extent_dims(space, size, NULL) >= 0) {
        for (int i = 0; i < rank; i++)
            like.shape[i] = (int64_t)size[i];
        like.name = path.data, like.dtype = dtype, like.rank = rank;
        if (store_series_add(store, &like, &series) == CN_OK) {
            series->rows = (size_t)size[0];
            series->handle = array;
            array = -1;
            result = 0;
        }
    }
    if (type >= 0) H5Tclose(type);
    if (space >= 0) H5Sclose(space);
    if (array >= 0) H5Dclose(array);
    cn_str_free(&path);
    return result;
}

static enum cn_status hdf5_close(struct cn_store *store)
{
    struct hdf5 *hdf5 = store->self;
    if (!hdf5) return CN_OK;
    bool good = true;
    for (size_t i = 0; i < store->n_series; i++)
        if (store->series[i].handle) good = H5Dclose(store->series[i].handle) >= 0 && good;
    good = H5Fclose(hdf5->file) >= 0 && good;
    free(hdf5);
    store->self = NULL;
    if (good || !store->temporary) return CN_OK;
    return library_error(CN_ERR_IO, "close", store->temporary);
}

static enum cn_status hdf5_open(struct cn_store *store)
{
    calm_library();
    struct hdf5 *hdf5 = calloc(1, sizeof *hdf5);
    if (!hdf5) return cn_fail(CN_ERR_MEMORY, "out of memory: store");
    hid_t access = H5Pcreate(H5P_FILE_ACCESS);
    H5Pset_fclose_degree(access, H5F_CLOSE_STRONG);
    hdf5->file = H5Fopen(store->path, H5F_ACC_RDONLY, access);
    H5Pclose(access);
    if (hdf5->file < 0) {
        free(hdf5);
        return library_error(CN_ERR_DATA, "open", store->path);
    }
    store->self = hdf5;
    if (H5Ovisit2(hdf5->file, H5_INDEX_NAME, H5_ITER_INC, visit, store, H5O_INFO_BASIC) >= 0)
        return CN_OK;
    enum cn_status status = library_error(CN_ERR_DATA, "list the arrays of", store->path);
    hdf5_close(store);
    return status;
}

static enum cn_status hdf5_read(struct cn_store *store, const struct store_series *series,
                                size_t begin, size_t rows, void *out)
{
    hsize_t from[CN_TENSOR_RANK_MAX] = {begin}, count[CN_TENSOR_RANK_MAX];
    for (int i = 0; i < series->rank; i++)
        count[i] = (hsize_t)series->shape[i];
    count[0] = rows;
    hid_t in_memory = H5Screate_simple(series->rank, count, NULL),
          in_file = H5Dget_space(series->handle);
    bool good = in_memory >= 0 && in_file >= 0 &&
                H5Sselect_hyperslab(in_file, H5S_SELECT_SET, from, NULL, count, NULL) >= 0 &&
                H5Dread(series->handle, native_type(series->dtype), in_memory, in_file, H5P_DEFAULT,
                        out) >= 0;
    if (!good) library_error(CN_ERR_DATA, "read", store->path);
    if (in_memory >= 0) H5Sclose(in_memory);
    if (in_file >= 0) H5Sclose(in_file);
    return good ? CN_OK : CN_ERR_DATA;
}

/* Reads an opened attribute that is a fixed-length text. */
static enum cn_status read_text(hid_t attribute, struct cn_str *out)
{
    hid_t type = H5Aget_type(attribute);
    size_t size = H5Tget_size(type);
    bool text = H5Tget_class(type) == H5T_STRING && H5Tis_variable_str(type) <= 0;
    enum cn_status status = CN_OK;
    if (!text) CN_TRY_GOTO(cn_fail(CN_ERR_DATA, "an attribute is not a fixed-length text"), out);
    CN_TRY_GOTO(cn_str_reserve(out, out->length + size + 1), out);
    if (H5Aread(attribute, type, out->data + out->length) < 0)
        CN_TRY_GOTO(cn_fail(CN_ERR_DATA, "an attribute cannot be read"), out);
    out->length += strnlen(out->data + out->length, size);
    out->data[out->length] = 0;
out:
    H5Tclose(type);
    return status;
}

static enum cn_status hdf5_attribute(struct cn_store *store, const char *name, const char *key,
                                     struct cn_str *out)
{
    const struct hdf5 *hdf5 = store->self;
    hid_t attribute = H5Aopen_by_name(hdf5->file, name, key, H5P_DEFAULT, H5P_DEFAULT);
    if (attribute < 0) {
        H5Eclear2(H5E_DEFAULT);
        return cn_fail(CN_ERR_DATA, "%s: %s has no attribute %s", store->path, name, key);
    }
    enum cn_status status = read_text(attribute, out);
    H5Aclose(attribute);
    return status;
}

const struct store_backend store_backend_hdf5 = {
    .name = "hdf5",
    .ending = ".h5",
    .create = hdf5_create,
    .open = hdf5_open,
    .write = hdf5_write,
    .finish = hdf5_finish,
    .read = hdf5_read,
    .attribute = hdf5_attribute,
    .close = hdf5_close,
};
