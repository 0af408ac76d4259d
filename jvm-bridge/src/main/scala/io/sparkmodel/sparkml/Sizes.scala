// SPDX-License-Identifier: Apache-2.0
package io.sparkmodel.sparkml

import org.apache.spark.ml.{PredictionModel, Transformer}
import org.apache.spark.ml.attribute.AttributeGroup
import org.apache.spark.ml.clustering.{BisectingKMeansModel, GaussianMixtureModel, KMeansModel}
import org.apache.spark.ml.feature._
import org.apache.spark.ml.linalg.SQLDataTypes.VectorType
import org.apache.spark.sql.DataFrame

/**
 * Sizes of vectors that a VectorAssembler wants to know.
 *
 * Spark takes them from a column's metadata, or else from the table's first row, which is not there yet when a query
 * is analysed. A predictor or a scaler behind it knows how many features it was trained on, and so how
 * many are missing.
 */
private[sparkml] object Sizes {

  /** The vector columns that a stage needs the size of, and has not. */
  def unknown(data: DataFrame, stage: Transformer): Seq[String] = stage match {
    case assembler: VectorAssembler if assembler.getHandleInvalid == "error" =>
      val columns = assembler.getInputCols.toSet
      data.schema.filter(field =>
        columns(field.name) && field.dataType == VectorType && AttributeGroup.fromStructField(field).size < 0)
        .map(_.name)
    case _ => Nil
  }

  /** The table with the size of a column in its metadata, if the stages that come tell it. */
  def completed(data: DataFrame, column: String, stages: Seq[Transformer]): Option[DataFrame] =
    for {
      (one, features) <- total(sized(data, column, 1), stages)
      (two, _) <- total(sized(data, column, 2), stages)
      size = features - one + 1
      if two == one + 1 && size > 0 // else something between them does not keep the size
    } yield sized(data, column, size)

  /** Sizes of the first vector that a stage was trained on: as made, and as it was then. */
  private def total(data: DataFrame, stages: Seq[Transformer]): Option[(Int, Int)] = stages match {
    case stage +: more if unknown(data, stage).isEmpty =>
      trained(stage) match {
        case None => total(stage.transform(data), more)
        case Some((column, features)) =>
          val size = AttributeGroup.fromStructField(data.schema(column)).size
          if (size < 0 || features < 0) None else Some((size, features))
      }
    case _ => None
  }

  /** The vector column that a stage was trained on, and its size. */
  private def trained(stage: Transformer): Option[(String, Int)] = Option(stage).collect {
    case model: PredictionModel[_, _] => model.getFeaturesCol -> model.numFeatures
    case model: KMeansModel => model.getFeaturesCol -> model.clusterCenters.head.size
    case model: BisectingKMeansModel => model.getFeaturesCol -> model.clusterCenters.head.size
    case model: GaussianMixtureModel => model.getFeaturesCol -> model.gaussians.head.mean.size
    case model: StandardScalerModel => model.getInputCol -> model.mean.size
    case model: MinMaxScalerModel => model.getInputCol -> model.originalMin.size
    case model: MaxAbsScalerModel => model.getInputCol -> model.maxAbs.size
    case model: RobustScalerModel => model.getInputCol -> model.median.size
    case model: PCAModel => model.getInputCol -> model.pc.numRows
    case model: VectorIndexerModel => model.getInputCol -> model.numFeatures
  }

  private def sized(data: DataFrame, column: String, size: Int): DataFrame =
    data.withColumn(column, Outputs.named(column).as(column, new AttributeGroup(column, size).toMetadata()))
}
