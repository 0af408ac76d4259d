// SPDX-License-Identifier: Apache-2.0
package io.sparkmodel.sparkml

import org.apache.spark.ml.Transformer
import org.apache.spark.sql.Column
import org.apache.spark.sql.functions.{col, struct}
import org.apache.spark.sql.types.StructType

/**
 * The columns of a model that a function may return, by the words of the option `output`.
 *
 * `prediction` is what the last stage makes: the prediction of a predictor, the columns of any other stage.
 * `probability` and `raw` are those of the last stage that has them.
 */
private[sparkml] case class Outputs(columns: Seq[(String, Seq[String])]) {

  /** The words that this model knows. */
  def words: Seq[String] = columns.map(_._1) ++ (if (columns.size > 1) Seq(Outputs.All) else Nil)

  def column(word: String): Option[Column] =
    if (!words.contains(word)) None
    else if (word == Outputs.All) Some(struct(columns.map { case (name, of) => one(of).as(name) }: _*))
    else columns.collectFirst { case (`word`, of) => one(of) }

  private def one(names: Seq[String]): Column = names match {
    case Seq(name) => Outputs.named(name)
    case several => struct(several.map(name => Outputs.named(name).as(name)): _*)
  }
}

private[sparkml] object Outputs {
  val Prediction = "prediction"
  val All = "all"
  val Words: Seq[String] = Seq(Prediction, "probability", "raw", All)

  /** @param inputs the columns that the model is given */
  def of(stages: Seq[Transformer], inputs: StructType): Outputs = {
    val schemas = stages.scanLeft(inputs)((schema, stage) => Columns.after(stage, schema))
    def made(index: Int): Seq[String] = {
      val before = schemas(index).fieldNames.toSet
      Columns.value(stages(index), "predictionCol").map(Seq(_))
        .getOrElse(schemas(index + 1).fieldNames.toSeq.filterNot(before))
    }
    val prediction = stages.indices.reverseIterator.map(made).find(_.nonEmpty)
    def last(param: String): Option[Seq[String]] =
      stages.reverseIterator.flatMap(Columns.value(_, param)).find(schemas.last.fieldNames.contains).map(Seq(_))
    Outputs(
      prediction.map(Prediction -> _).toSeq ++ last("probabilityCol").map("probability" -> _) ++
        last("rawPredictionCol").map("raw" -> _))
  }

  def named(name: String): Column = col("`" + name.replace("`", "``") + "`")
}
