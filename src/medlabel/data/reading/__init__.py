"""Files of images as a viewer shows them: pictures, DICOM, volumes, arrays."""
