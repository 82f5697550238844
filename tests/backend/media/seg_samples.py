"""DICOM segmentations made by highdicom from a made-up CT series: real files with known geometry."""

from __future__ import annotations

from pathlib import Path

import numpy as np

SPACING_MM = (0.7, 0.35)
SLICE_MM = 2.5
ORIGIN_MM = (-101.123456, 42.5, 7.25)
ANGLE = np.deg2rad(20)
ORIENTATION = (np.cos(ANGLE), np.sin(ANGLE), 0.0, -np.sin(ANGLE), np.cos(ANGLE), 0.0)


def series(depth: int, rows: int, columns: int) -> list:
    """``depth`` CT slices without pixels, tilted in the plane by 20 degrees."""
    from pydicom import Dataset
    from pydicom.dataset import FileMetaDataset
    from pydicom.uid import CTImageStorage, ExplicitVRLittleEndian, generate_uid

    study, run, frame = generate_uid(), generate_uid(), generate_uid()
    images = []
    for index in range(depth):
        image = Dataset()
        image.file_meta = FileMetaDataset()
        image.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
        image.SOPClassUID, image.SOPInstanceUID = CTImageStorage, generate_uid()
        image.StudyInstanceUID, image.SeriesInstanceUID, image.FrameOfReferenceUID = study, run, frame
        image.PatientName, image.PatientID = "Doe^Jane", "ZEBEDEE-4711"
        image.PatientBirthDate, image.PatientSex = "19500101", "F"
        image.AccessionNumber, image.StudyID, image.StudyDate, image.StudyTime = "A1", "S1", "20200101", "120000"
        image.Modality, image.Rows, image.Columns = "CT", rows, columns
        image.PixelSpacing, image.SliceThickness = list(SPACING_MM), SLICE_MM
        image.ImageOrientationPatient = [round(float(value), 12) for value in ORIENTATION]
        image.ImagePositionPatient = [ORIGIN_MM[0], ORIGIN_MM[1], ORIGIN_MM[2] + SLICE_MM * index]
        images.append(image)
    return images


def write_seg(
    path: Path, masks: np.ndarray, kind: str = "BINARY", labels: tuple[str, ...] = ("Liver", "Vessel")
) -> Path:
    """Write ``masks`` [D, H, W, segments] (bool, or float 0..1 for FRACTIONAL) as a DICOM SEG."""
    import highdicom
    from pydicom.uid import generate_uid

    made = highdicom.seg.Segmentation(
        source_images=series(*masks.shape[:3]),
        pixel_array=masks.astype(np.float32) if kind == "FRACTIONAL" else masks.astype(np.uint8),
        segmentation_type=kind,
        segment_descriptions=[
            highdicom.seg.SegmentDescription(
                segment_number=number,
                segment_label=label,
                segmented_property_category=highdicom.sr.CodedConcept("123037004", "SCT", "Anatomical Structure"),
                segmented_property_type=highdicom.sr.CodedConcept("10200004", "SCT", "Liver"),
                algorithm_type="MANUAL",
            )
            for number, label in enumerate(labels[: masks.shape[3]], start=1)
        ],
        series_instance_uid=generate_uid(),
        series_number=2,
        sop_instance_uid=generate_uid(),
        instance_number=1,
        manufacturer="Maker",
        manufacturer_model_name="Model",
        software_versions="1",
        device_serial_number="77",
    )
    made.save_as(path)
    return path
